"""Many trials in training as one program."""
