"""The words that Pinecone searches. It folds case and English endings itself; what else is folded, is so here."""

from __future__ import annotations

import re
import unicodedata

from include.index.contract import SEARCHED, Metadata
from include.index.folding import folded

SEARCHED_CHARACTERS = 20_000
"""Longest text that Pinecone searches. Its limits are 100 KB and 10,000 words: so many characters have at most 80 KB in
UTF-8, and a sign between any two words."""

WORD = re.compile(r"\w")
UNSPACED = (
    "\u0e01-\u0eff"  # Thai and Lao
    "\u1000-\u109f\u1780-\u17d3"  # Burmese and Khmer
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"  # Chinese, and Japanese
)
"""Letters of languages that are written without spaces between words."""
RUN = re.compile(f"[{UNSPACED}]+")
CERTAIN = re.compile(r"(?<!\S)(?:[A-Za-z]{3,20}|[\u3041-\u3096\u4e00-\u9fff]{2})(?!\S)")
"""A word that is found by itself, whatever the rules by which Pinecone divides a text."""


def searched(metadata: Metadata) -> str:
    """The text of a record that is searched, without the end of its description where it is too long.

    One text of all finds more than one of each (benchmarks/RESULTS.md).
    """
    texts = [getattr(metadata, name) for name in sorted(SEARCHED, key="description".__eq__)]
    return _divided("\n".join(filter(None, texts)), singles=True)[:SEARCHED_CHARACTERS]


def asked(query: str) -> str | None:
    """A query as it is asked of what is searched; None if it has no words."""
    return _divided(query, singles=False) if WORD.search(folded(query)) else None


def encodable(text: str) -> str:
    """A text that UTF-8 can write."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _divided(text: str, *, singles: bool) -> str:
    """A folded text with spaces between its words, where a language has none: between every two letters that follow
    each other, as Lucene does it for Chinese, Japanese and Korean.

    :param singles: also between single letters, some of which are words.
    """
    if text.isascii():
        return folded(text)

    def divide(run: re.Match[str]) -> str:
        letters = run[0]
        pairs = [letters[start : start + 2] for start in range(max(len(letters) - 1, 1))]
        return f" {' '.join([*pairs, *(letters if singles and len(letters) > 1 else '')])} "

    return RUN.sub(divide, unaccented(encodable(text)))


def unaccented(text: str) -> str:
    """A folded text, with plain letters for those with accents."""
    return folded(text).translate(_PLAIN)


class _Plain(dict[int, str]):
    """Latin letters without their accents, by the code of the letter; marks of other scripts make other letters."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        base = unicodedata.normalize("NFKD", character)[0]
        self[code] = base if base.isascii() and base.isalpha() else character
        return self[code]


_PLAIN = _Plain()
