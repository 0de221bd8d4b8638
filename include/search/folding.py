"""Normalising words for comparison: ignoring case, accents and full width, much as the index does."""

from __future__ import annotations

import re
import unicodedata

UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff"
"""Letters of scripts without spaces between words (a range for a regular expression): any part of such a text may be a
word."""
WORD_START = re.compile(rf"[^\W_{UNSPACED}]+|[{UNSPACED}]")
"""From where on a text may be written by somebody who looks for it."""

_TYPED = str.maketrans("’‘“”„–—‐−", '\'\'"""----')
"""Printers' signs, and what keyboards have in their place."""


def visible(text: str) -> str:
    """A text without invisible characters, such as a terminal's control characters."""
    return "".join(sign for sign in text if sign.isspace() or unicodedata.category(sign) not in {"Cc", "Cs"})


def fold(text: str) -> str:
    """A text in plain lower-case letters and signs.

    >>> fold("L’été – Straße")
    "l'ete - strasse"
    """
    composed = unicodedata.normalize("NFKD", text.casefold()).translate(_TYPED)
    return "".join(sign for sign in composed if not unicodedata.combining(sign))
