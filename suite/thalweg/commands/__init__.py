"""The commands of the command line: each reads, calls and prints."""
