"""Queries that nobody should keep."""

from __future__ import annotations

import re
import unicodedata

MAX_CHARS = 200
"""A longer query was pasted: it may be a letter, and is none that others would type."""
_MAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_NUMBER = re.compile(r"\d(?:[\s().,/+_-]*\d){6,}")
"""Seven digits or more, with what people put between them: a telephone, a card, an account, an insured person."""


def looks_personal(query: str) -> bool:
    """Whether a query may say who somebody is: it has a mail address or a long number, or is very long.

    A card number is a long number like any other. Some harmless queries look personal, too, such as two years in a row:
    one that is not kept costs little.
    """
    plain = "".join(sign for sign in unicodedata.normalize("NFKC", query) if unicodedata.category(sign) != "Cf")
    return len(plain) > MAX_CHARS or bool(_MAIL.search(plain) or _NUMBER.search(plain))
