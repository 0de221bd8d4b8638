"""Keywords: the words that set an episode apart from the others of its language, and from the others of its show."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

from include.queries.contract import Passage
from include.queries.titles import CALENDAR, without_unspaced

CANDIDATES = 8
"""How many keywords are kept per episode."""
MAX_LANGUAGE_SHARE = 0.1
"""A word in a larger share of a language's episodes says nothing: the stop words of any language, without a list."""
MIN_LANGUAGE_EPISODES = 20
MAX_SHOW_SHARE = 0.3
"""A word in a larger share of a show's episodes is its host, sponsor or subject, and tells none of them apart."""
MIN_SHOW_EPISODES = 5

ADDRESS = re.compile(r"(?:https?://|www\.)\S+|\S+@\S+\.\w+|\S+\.(?:com|org|net|example)\b\S*")
_CONTRACTION = re.compile(r"\b[^\W\d_]+['’](?:t|re|ve|ll|d|m)\b|['’]s\b", re.IGNORECASE)
_WORD = r"(?u)\b[^\W\d_]{3,20}\b"


def keywords(passages: Sequence[Passage]) -> list[list[str]]:
    """The best keywords of each passage, best first, by TF-IDF over title and description.

    Only the set of passages matters, not their order.
    """
    texts = [_text(passage) for passage in passages]
    languages: defaultdict[str, list[int]] = defaultdict(list)
    for number, passage in enumerate(passages):
        languages[(passage.language or "").casefold()].append(number)
    weighted: list[dict[str, float]] = [{} for _ in passages]
    for numbers in languages.values():
        for number, weights in zip(numbers, _tf_idf([texts[number] for number in numbers]), strict=True):
            weighted[number] = weights
    common = _common_in_show(passages, weighted)
    best = []
    for passage, text, weights in zip(passages, texts, weighted, strict=True):
        telling = [word for word in weights if word not in common[passage.show_title]]
        # Rare words of a short text weigh the same: what is said first is nearer to the subject.
        place = {word: position for position, word in reversed(list(enumerate(words_of(text))))}
        best.append(sorted(telling, key=lambda word: (-weights[word], place[word]))[:CANDIDATES])
    return best


def words_of(text: str) -> list[str]:
    """The words of a text that could be keywords, in lower case, in their order."""
    return re.findall(_WORD, _plain(text).lower())


def lower_case_words(passages: Sequence[Passage]) -> set[str]:
    """Every word that stands in lower case in one of the descriptions: names, in most languages, do not."""
    words: set[str] = set()
    for passage in passages:
        words.update(word for word in re.findall(r"[^\W\d_]+", passage.description) if word[0].islower())
    return words


def _text(passage: Passage) -> str:
    return f"{passage.title}. {passage.description}"


def _plain(text: str) -> str:
    return CALENDAR.sub(" ", without_unspaced(_CONTRACTION.sub(" ", ADDRESS.sub(" ", text))))


def _tf_idf(texts: list[str]) -> list[dict[str, float]]:
    """TF-IDF weights of each text by word, against the other texts of its language."""
    vectorizer = TfidfVectorizer(
        preprocessor=lambda text: _plain(text).lower(),
        token_pattern=_WORD,
        stop_words=list(ENGLISH_STOP_WORDS),
        max_df=MAX_LANGUAGE_SHARE if len(texts) >= MIN_LANGUAGE_EPISODES else 1.0,
        sublinear_tf=True,
    )
    try:
        matrix = vectorizer.fit_transform(texts).tocsr()
    except ValueError:  # not one usable word in all texts
        return [{} for _ in texts]
    names = vectorizer.get_feature_names_out()
    # Rounded, so that equal weights are equal whatever the order in which their floats were added up.
    return [
        {str(names[column]): round(float(weight), 9) for column, weight in zip(row.indices, row.data, strict=True)}
        for row in matrix
    ]


def _common_in_show(passages: Sequence[Passage], weighted: list[dict[str, float]]) -> dict[str, set[str]]:
    """By show: the words that too many of its episodes share."""
    episodes = Counter(passage.show_title for passage in passages)
    sharing: dict[str, Counter[str]] = {show: Counter() for show in episodes}
    for passage, weights in zip(passages, weighted, strict=True):
        sharing[passage.show_title].update(weights.keys())
    return {
        show: {word for word, count in counts.items() if count > max(2, MAX_SHOW_SHARE * episodes[show])}
        if episodes[show] >= MIN_SHOW_EPISODES
        else set()
        for show, counts in sharing.items()
    }
