"""Queries that should not be stored."""

from __future__ import annotations

import re
import unicodedata

MAX_CHARS = 200
"""A longer query was pasted: it may be a letter, and nobody else would type it."""
_MAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_NUMBER = re.compile(r"\d(?:[\s().,/+_-]*\d){6,}")
"""Seven digits or more, with the usual separators: a phone, card, account or insurance number."""


def looks_personal(query: str) -> bool:
    """Whether a query may identify somebody: it contains a mail address or a long number, or is very long.

    Some harmless queries look personal, too, such as two years in a row: losing one costs little.
    """
    plain = "".join(sign for sign in unicodedata.normalize("NFKC", query) if unicodedata.category(sign) != "Cf")
    return len(plain) > MAX_CHARS or bool(_MAIL.search(plain) or _NUMBER.search(plain))
