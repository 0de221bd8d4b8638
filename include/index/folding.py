"""Preparing words for search, in records and queries alike: what both backends leave to us."""

from __future__ import annotations

import unicodedata

APOSTROPHES = "’‘ʼʻ"
"""What printers and telephones write where a keyboard has ``'``: an index takes “women’s” for another word."""


def folded(text: str) -> str:
    """A text in small letters, composed, with plain letters for those of full width, one kind of apostrophe, and words
    that are not joined by underscores."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.casefold()).replace("i\u0307", "i")  # of the Turkish İ
        for sign in APOSTROPHES:
            text = text.replace(sign, "'")
    return text.replace("_", " ")
