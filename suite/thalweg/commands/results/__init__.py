"""The commands of ``thalweg results``, one a file."""
