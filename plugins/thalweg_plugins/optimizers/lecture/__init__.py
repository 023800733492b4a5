"""Textbook variants, in the form of lecture notes."""
