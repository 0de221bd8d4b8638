"""The scripts a text is written in, by the share of its letters: enough to see that a query is of another language."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

LATIN = "LATIN"
HAN = "HAN"
_HAN = {"CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}
"""First words of the names of Chinese and Japanese letters, which one text mixes: they count as one script."""
_NO_SCRIPT = {"MODIFIER", "SUPERSCRIPT", "SUBSCRIPT", ""}

MIN_SHARE = 0.2
"""A script with a smaller share of a text's letters is there for a name, and not what the text is written in."""


def script_shares(text: str) -> dict[str, float]:
    """Share of a text's letters in each script (``LATIN``, ``CYRILLIC``, ``HAN`` …); empty without a letter.

    >>> script_shares("Привет, Bob")
    {'CYRILLIC': 0.6666666666666666, 'LATIN': 0.3333333333333333}
    """
    counts: Counter[str] = Counter()
    for character, number in Counter(unicodedata.normalize("NFKC", text)).items():
        if script := _script(character):
            counts[script] += number
    return {script: number / counts.total() for script, number in counts.most_common()}


def fits(query: Mapping[str, float], text: Mapping[str, float]) -> bool:
    """Whether at least half of a query is in scripts that the text it must find is written in.

    What has no letters fits whatever it is.
    """
    if not query or not text:
        return True
    return sum(share for script, share in query.items() if text.get(script, 0.0) >= MIN_SHARE) >= 0.5


@lru_cache(maxsize=8192)
def _script(character: str) -> str | None:
    """The script of a letter: the first word of its Unicode name; None for what is no letter, or is in every script."""
    if unicodedata.category(character)[0] != "L":
        return None
    first = unicodedata.name(character, "").partition(" ")[0]
    return None if first in _NO_SCRIPT else HAN if first in _HAN else first
