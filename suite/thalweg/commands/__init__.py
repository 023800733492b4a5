"""What the command line's commands do: each reads, calls and prints."""
