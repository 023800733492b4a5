"""Textbook variants, written as the lecture writes them."""
