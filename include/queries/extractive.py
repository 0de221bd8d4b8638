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

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

from include.queries.contract import Passage, Query

_NUMBERING = re.compile(
    r"""^\W*(?:
        s\d+\s*e\d+\b                                                  # "S02E05 "
        | (?:episode|ep|folge|avsnitt|episodio|épisode|part|pt|no|nr)\W{0,2}\s*\#?\d{1,4}\b   # "Ep. 47", "Folge 3"
        | (?:[^\W\d]{1,12}\s?)?\#?\d{1,4}(?=\s*[-–—:|.)\]])             # "#112:", "091 -", "TAS 323:"
    )\s*[-–—:|.)\]]*\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_TRAILING = re.compile(r"\s*(?:[|(\[–—-]\s*|\b(?:episode|ep|part|pt)\W{0,2}|#)+\d{1,4}\W*$", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+")
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+|\S+@\S+\.\w+|\S+\.(?:com|org|net|example)\S*")

MIN_REST_WORDS = 12
"""A lead is only used where this many words of the description are left to be found."""
MAX_LEAD_WORDS = 24
KEYWORDS = (2, 4)
CANDIDATES = 8
"""Key phrases are drawn from so many of an episode's best keywords."""


class ExtractiveQueryGenerator:
    """Titles, key phrases and lead sentences of the episodes themselves."""

    name = "extractive"

    def generate(self, passages: Sequence[Passage], n: int, seed: int) -> list[list[Query]]:
        """See :class:`include.queries.contract.QueryGenerator`; TF-IDF weights come from the passages of the call."""
        keywords = _keywords(passages)
        return [_queries(passage, words, n, seed) for passage, words in zip(passages, keywords, strict=True)]


def bare_title(title: str, show_title: str) -> str:
    """A title without its numbering and without the show's name: what a listener might have asked.

    >>> bare_title("Ep. 47 – Why we sleep | The Night Shift", "The Night Shift")
    'Why we sleep'
    """
    bare = re.sub(re.escape(show_title), " ", title, flags=re.IGNORECASE) if show_title else title
    bare = _NUMBERING.sub("", bare.strip(" -–—:|·,#"))
    bare = _TRAILING.sub("", bare)
    return " ".join(bare.split()).strip(" -–—:|·,#\"'“”")


def _queries(passage: Passage, keywords: list[str], n: int, seed: int) -> list[Query]:
    chance = random.Random(f"{seed}:{passage.episode_id}")  # noqa: S311 - reproducible, not secret
    queries = [query for query in (_title(passage), _key_phrase(passage, keywords, chance), _lead(passage)) if query]
    chance.shuffle(queries)
    while len(queries) < n and (more := _key_phrase(passage, keywords, chance)):
        if more.text in {query.text for query in queries}:
            break
        queries.append(more)
    return queries[:n]


def _title(passage: Passage) -> Query | None:
    title = bare_title(passage.title, passage.show_title)
    if len(title.split()) < 2:
        return None
    description = re.sub(re.escape(passage.title), " ", passage.description, flags=re.IGNORECASE)
    return Query(title, "title", passage.text(title=False, description=" ".join(description.split())))


def _key_phrase(passage: Passage, keywords: list[str], chance: random.Random) -> Query | None:
    if len(keywords) < KEYWORDS[0]:
        return None
    size = min(chance.randint(*KEYWORDS), len(keywords))
    # Better keywords are likelier: an exponential race over their rank.
    drawn = sorted(range(len(keywords)), key=lambda rank: chance.random() ** (rank + 1), reverse=True)[:size]
    return Query(" ".join(keywords[rank] for rank in sorted(drawn)), "key_phrase", passage.text())


def _lead(passage: Passage) -> Query | None:
    sentences = _SENTENCE.split(passage.description, maxsplit=1)
    lead = sentences[0].strip(" .")
    rest = sentences[1] if len(sentences) == 2 else ""
    if len(rest.split()) < MIN_REST_WORDS or not 4 <= len(lead.split()) <= MAX_LEAD_WORDS or _ADDRESS.search(lead):
        return None
    return Query(lead, "lead", passage.text(description=rest))


def _keywords(passages: Sequence[Passage]) -> list[list[str]]:
    """The best keywords of each passage, best first, by TF-IDF over title and description."""
    texts = [_ADDRESS.sub(" ", f"{passage.title}. {passage.description}") for passage in passages]
    vectorizer = TfidfVectorizer(
        token_pattern=r"(?u)\b[^\W\d_]{3,20}\b",  # noqa: S106 - a pattern, no password
        stop_words=list(ENGLISH_STOP_WORDS),
        # Words that half the texts use say nothing, whatever the language; a word seen once is most often a name.
        max_df=0.2 if len(texts) >= 20 else 1.0,
        sublinear_tf=True,
    )
    try:
        weights = vectorizer.fit_transform(texts).tocsr()
    except ValueError:  # not one usable word in all texts
        return [[] for _ in passages]
    names = vectorizer.get_feature_names_out()
    best = []
    for row in range(weights.shape[0]):
        start, end = weights.indptr[row], weights.indptr[row + 1]
        pairs = sorted(zip(-weights.data[start:end], weights.indices[start:end], strict=True))
        best.append([str(names[column]) for _, column in pairs[:CANDIDATES]])
    return best
