"""How an episode is shown: the sentence that matches best, marked words, and readable lengths and dates.

Podcast text is never markup: everything built here consists of escaped pieces.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

from babel import Locale
from markupsafe import Markup, escape

from include.search.folding import UNSPACED, fold, visible

SHORT, LONG = 160, 320
"""Length of an excerpt: a shorter one is extended by another sentence; a longer one is cut."""
_WITHOUT_SPACES = re.compile(f"[{UNSPACED}]")
_WORD = re.compile(rf"[^\W_{UNSPACED}]+(?:['’][^\W_{UNSPACED}]+)*|[{UNSPACED}]+")
_ENDING = re.compile(r"(?<=[a-z]{3})(?:ing|ed|es|s|e)$")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])\s*|\s*\n+\s*|\s+[-–—_=*]{2,}\s+")
_FILLING = (
    "a about am an and are as at be been but by can could did do does for from had has have he her his how i i'm if in "
    "into is it it's its me my not of off on or our she should so some than that the their them then there these they "
    "this to up us was we were what what's when where which who why will with would you your"
)
_FILLERS = frozenset(_FILLING.split())
"""Words that are in nearly every text: they are marked only if the query has no others."""
_LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8})*", re.IGNORECASE)


def marked(text: str, query: str) -> Markup:
    """A text with the words of a query in ``<mark>``, in whatever form they occur; everything else is escaped."""
    pieces: list[Markup] = []
    end = 0
    for start, stop in _places(text, query):
        pieces += [escape(text[end:start]), Markup("<mark>"), escape(text[start:stop]), Markup("</mark>")]
        end = stop
    return Markup("").join([*pieces, escape(text[end:])])


def excerpt(text: str | None, query: str) -> str:
    """The first sentence of a text with the most words of a query; with what follows, if it is short."""
    sentences = [sentence for sentence in _SENTENCE.split(visible(text or "")) if sentence.strip()]
    if not sentences:
        return ""
    found = [len({_key(one[start:stop]) for start, stop in _places(one, query)}) for one in sentences]
    best = found.index(max(found))
    shown = sentences[best]
    for sentence in sentences[best + 1 :]:
        if len(shown) >= SHORT or len(shown) + len(sentence) >= LONG:
            break
        shown += " " + sentence
    return ("… " if best else "") + _cut(shown, query)


def _cut(text: str, query: str) -> str:
    """At most :data:`LONG` characters, from shortly before the first matching word."""
    if len(text) <= LONG:
        return text
    first = next((start for start, _ in _places(text, query)), 0)
    begin = 0 if first < LONG * 2 // 3 else text.rfind(" ", 0, first - LONG // 3) + 1
    end = text.rfind(" ", begin + LONG // 2, begin + LONG)
    end = end if end > 0 else begin + LONG
    return ("… " if begin else "") + text[begin:end].rstrip(" ,;:–—-") + (" …" if end < len(text) else "")


def _places(text: str, query: str) -> list[tuple[int, int]]:
    """Where words of a query occur in a text, in order."""
    keys, parts = _asked(query)
    places = []
    for word in _WORD.finditer(text):
        if _WITHOUT_SPACES.match(word[0]):
            inside = re.finditer("|".join(map(re.escape, parts)), word[0]) if parts else ()
            places += [(word.start() + part.start(), word.start() + part.end()) for part in inside]
        elif _key(word[0]) in keys:
            places.append(word.span())
    return places


@lru_cache(maxsize=256)
def _asked(query: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """The words of a query to look for, and those of scripts without spaces."""
    words = [word.casefold() for word in _WORD.findall(query)]
    unspaced = tuple(sorted({word for word in words if _WITHOUT_SPACES.match(word)}, key=len, reverse=True))
    spaced = [word for word in words if word not in unspaced]
    telling = [word for word in spaced if word.replace("’", "'") not in _FILLERS]
    return frozenset(_key(word) for word in telling or spaced), unspaced


def _key(word: str) -> str:
    """What the forms of a word have in common, much as in the index: without case, accents and English endings."""
    return _ENDING.sub("", re.sub(r"['’]\w?$", "", fold(word)))


def length(seconds: int | None) -> str:
    """``48 s``, ``42 min``, ``1 h 5 min``; nothing if unknown."""
    if not seconds or seconds < 0:
        return ""
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return " ".join([f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes or not hours))


def audio(url: str | None) -> str | None:
    """The address of an audio file, if it is http or https: a feed may contain ``javascript:``, too."""
    try:
        parts = urlsplit((url or "").strip())
    except ValueError:
        return None
    return (url or "").strip() if parts.scheme.lower() in {"http", "https"} and parts.hostname else None


@lru_cache(maxsize=1024)
def language_code(language: str | None) -> str | None:
    """A browser's code for a language, from its English name or its code; None if unknown."""
    name = (language or "").strip()
    return _codes().get(name.casefold()) or (name.replace("_", "-") if _LANGUAGE_CODE.fullmatch(name) else None)


@lru_cache(maxsize=1)
def _codes() -> dict[str, str]:
    names = Locale("en").languages.items()
    return {name.casefold(): code.replace("_", "-") for code, name in names}
