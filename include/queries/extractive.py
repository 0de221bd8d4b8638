"""Queries from an episode's own words; needs no model and no download.

Three origins are mixed, because each alone teaches a narrow kind of query:

* ``title``: the title without numbering and show name; the positive is the text with the title held out;
* ``key_phrase``: two to four of the words that set the episode apart (TF-IDF), as people type who know the subject;
* ``lead``: the first sentence of the description; the positive is the text with that sentence held out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import chain

from include.queries.contract import Passage, Query
from include.queries.keywords import ADDRESS, keywords, lower_case_words, words_of
from include.queries.titles import bare_title, count_words, is_question

# A full stop ends a sentence unless a small letter follows, or it stands after an initial or a form of address.
_SENTENCE = re.compile(
    r"(?<=[.!?])(?<!\b[A-Z]\.)(?<!\b[DMS][rst]\.)(?<!\bMrs\.)(?<!\bProf\.)\s+(?=[^a-z\s])|(?<=[。！？])\s*"
)
_IN_THIS_EPISODE = re.compile(
    r"^(?:in|on) (?:this|today['’]s|this week['’]s) (?:[\w-]+ ){0,2}(?:episode|edition|show)\b[^,.!?]{0,40},\s*",
    re.IGNORECASE,
)
_BOILERPLATE = re.compile(
    r"""^\W*(?:
        (?:in|on)\s(?:this|today['’]?s)\b | this\s(?:episode|podcast|show|week|is|has|one)\b
        | (?:welcome|hello|hi|hey|thanks?|support|subscribe|follow|sponsor|click|listen|download|please|join|visit)\b
        | (?:check\sout|sign\sup|brought\sto|it['’]?s\s(?:been|time)|part\s\d)\b
        | (?:velkommen|välkommen|willkommen|bienvenue|benvenut|bienvenid|bem-vind)
        | (?:folge\svom|in\sdieser\s(?:folge|episode)|en\seste\sepisodio|dans\scet\sépisode|i\sdenne\sepisoden)
    )""",
    re.IGNORECASE | re.VERBOSE,
)

MIN_REST_WORDS = 12
"""A lead is only used where this many words of the description are left to be found."""
MIN_REST_WORDS_OF_TITLE = 5
"""The same for a title: without it, only the show is left, which all of its episodes share."""
LEAD_WORDS = (4, 24)
PHRASE_WORDS = (2, 4)


class ExtractiveQueryGenerator:
    """Titles, key phrases and lead sentences of the episodes themselves."""

    name = "extractive"
    tokens = 0
    chunk: int | None = None
    """A word tells an episode apart from the others of the call."""

    def generate(self, passages: Sequence[Passage], n: int, seed: int) -> list[list[Query]]:
        """See :class:`include.queries.contract.QueryGenerator`; TF-IDF weights come from the passages of the call."""
        lower_case = lower_case_words(passages)
        return [
            _queries(passage, best, lower_case, n=n, chance=random.Random(f"{seed}:{passage.episode_id}"))  # noqa: S311
            for passage, best in zip(passages, keywords(passages), strict=True)
        ]


def _queries(passage: Passage, best: list[str], lower_case: set[str], *, n: int, chance: random.Random) -> list[Query]:
    first = [_title(passage, lower_case), _key_phrase(passage, best, chance), _lead(passage, best)]
    chance.shuffle(first)
    queries: dict[str, Query] = {}
    # More key phrases fill the number up; a draw may repeat one, so there are more draws than places.
    for query in chain(first, (_key_phrase(passage, best, chance) for _ in range(2 * n))):
        if len(queries) == n:
            break
        if query:
            queries.setdefault(query.text.casefold(), query)
    return list(queries.values())


def _title(passage: Passage, lower_case: set[str]) -> Query | None:
    title = bare_title(passage.title, passage.show_title)
    if not is_question(title, lower_case):
        return None
    description = _without(_without(passage.description, passage.title), title)
    if count_words(description) < MIN_REST_WORDS_OF_TITLE:
        return None
    return Query(title, "title", passage.text(title=False, description=description))


def _key_phrase(passage: Passage, best: list[str], chance: random.Random) -> Query | None:
    """Some of the keywords, in the order of the text, so that what belongs together stays together."""
    if len(best) < PHRASE_WORDS[0]:
        return None
    size = min(chance.randint(*PHRASE_WORDS), len(best))
    # Better keywords are likelier: an exponential race over their rank.
    drawn = sorted(range(len(best)), key=lambda rank: chance.random() ** (rank + 1), reverse=True)[:size]
    text = f"{passage.title}. {passage.description}".lower()
    return Query(" ".join(sorted((best[rank] for rank in drawn), key=text.find)), "key_phrase", passage.text())


def _lead(passage: Passage, best: list[str]) -> Query | None:
    sentences = _SENTENCE.split(passage.description, maxsplit=1)
    lead = _IN_THIS_EPISODE.sub("", sentences[0]).strip(" .。")
    rest = sentences[1] if len(sentences) == 2 else ""
    if count_words(rest) < MIN_REST_WORDS or not LEAD_WORDS[0] <= count_words(lead) <= LEAD_WORDS[1]:
        return None
    if _BOILERPLATE.match(lead) or ADDRESS.search(lead):
        return None
    if best and set(best).isdisjoint(words_of(lead)):  # it could open any episode
        return None
    return Query(lead, "lead", passage.text(description=rest))


def _without(text: str, part: str) -> str:
    """A text with every occurrence of a part taken out, whatever its case."""
    return " ".join(re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", " ", text, flags=re.IGNORECASE).split())
