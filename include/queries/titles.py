"""Titles as a listener might have asked for them: without numbering, dates and the show's name."""

from __future__ import annotations

import re

# "2017" is a year, and what an episode is about; every other number of up to four digits may be the episode's own.
_NUMBER = r"(?!(?:19\d|20[0-4])\d\b)\d{1,4}"
_NUMBERING = re.compile(
    rf"""^[^\w(\[]*(?:
        s\d+\s*e\d+\b                                                  # "S02E05 "
        | (?:episode|ep|folge|avsnitt|episodio|épisode|chapter|kapitel|capítulo|part|pt|no|nr)
          \W{{0,3}}\d{{1,4}}(?:\.\d)?\b                                  # "Ep. 47", "Folge 3"
        | (?:(?-i:[A-ZÀ-Þ]{{1,8}}|[^\W\d]{{1,3}})\s?)?\#?{_NUMBER}(?=\s*[-–—:|.)]\D)  # "TAS 323:"
        | (?-i:[A-Z]{{1,5}}\d{{3,4}}(?=\s))                             # "MBA827 "
        | \[\d{{1,4}}\] | \#\d{{1,4}}\b | 0\d{{2,3}}(?=\s)              # "[12] ", "#173 ", "053 "
    )\s*[-–—:|.)\]]*\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_DATE = re.compile(r"[\s([|–—-]*(?<!\d)\d{1,4}[-./]\d{1,2}[-./]\d{2,4}\W*$")
_TRAILING = re.compile(
    rf"""\s*(?:
        [(\[|,–—-]?\s*\b(?:season\s\w+|s\s?\d+)\W*(?:episode|ep|e)\W*\d+    # "(Season 4, Episode 6)", "– S3 E2"
        | (?:\s[-–—]\s*|[|(\[]\s*)?(?:\b(?:episode|ep|part|pt)\W{{0,3}}|\#){_NUMBER}   # "| Ep. #190", "(part 2)"
        | (?:\s[-–—]\s+|[|(\[]\s*){_NUMBER}                            # "– 12", "(3)"
        | [(\[](?:repeat|re-?run|re-?release|replay|encore|explicit|audio|video)[)\]]
    )\W*$""",
    re.IGNORECASE | re.VERBOSE,
)
_EDGES = " -–—:|·,"
_QUOTED = re.compile(r"([\"'“„«])([^\"'“”„«»]+)[\"'”“»]$")
CALENDAR = re.compile(
    r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|march|april|may|june|july|august|september"
    r"|october|november|december|\d+(?:st|nd|rd|th)?)\b",
    re.IGNORECASE,
)
"""Names of days and months in English, and numbers: when an episode was, not what it is about."""
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Japanese and Chinese: no spaces between words."""

MIN_TITLE_WORDS = 2


def bare_title(title: str, show_title: str) -> str:
    """A title without its numbering and without the show's name: what a listener might have asked.

    >>> bare_title("Ep. 47 – Why we sleep | The Night Shift", "The Night Shift")
    'Why we sleep'
    """
    bare = title
    if show_title:
        # The name may be glued to a number ("UKW053"), but not be a part of a longer word.
        bare = re.sub(rf"(?<!\w){re.escape(show_title)}(?![^\W\d])", " ", title, flags=re.IGNORECASE)
    bare = _NUMBERING.sub("", bare.strip(_EDGES))
    bare = _TRAILING.sub("", _DATE.sub("", bare))
    bare = " ".join(bare.split()).strip(_EDGES)
    return _QUOTED.sub(r"\2", bare) if _QUOTED.fullmatch(bare) else bare


def is_question(title: str, lower_case_words: set[str]) -> bool:
    """Whether somebody might ask a bare title: it is more than a date, and more than the name of a guest.

    :param lower_case_words: words that are written in lower case somewhere. A name is not, in most languages; a short
        title of such words alone does not say what the episode is about.
    """
    if count_words(CALENDAR.sub(" ", title)) < MIN_TITLE_WORDS:
        return False
    words = re.findall(r"[^\W\d_]+", title)
    return len(words) > 3 or any(word.casefold() in lower_case_words or not word[:1].isupper() for word in words)


def count_words(text: str) -> int:
    """Number of words that have a letter; two characters are one word where a script has no spaces."""
    unspaced = len(_UNSPACED.findall(text))
    spaced = _UNSPACED.sub(" ", text).split() if unspaced else text.split()
    return sum(any(character.isalpha() for character in word) for word in spaced) + unspaced // 2


def without_unspaced(text: str) -> str:
    """A text without what is written in a script that has no spaces, where words cannot be told apart."""
    return _UNSPACED.sub(" ", text)
