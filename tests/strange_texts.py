"""A text with every kind of character that acts on a terminal or hides, and a search for such characters."""

from __future__ import annotations

import unicodedata

EVIL = "a\x1b[2J\x9b31m\r\x07\x7f\u202e\u2066\u2028\u200b\ufeff\U000e0041\nb\tc"
SEEN = r"a\x1b[2J\x9b31m\r\x07\x7f\u202e\u2066\u2028\u200b\ufeff\U000e0041\nb\tc"


def acting(text: str) -> list[str]:
    """The characters of a text that act on a terminal or hide, except line breaks."""
    return [sign for sign in text if unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp", "Cs"} and sign != "\n"]
