"""Known-item queries: a listener looks for a known episode, and types its title the way people do.

They are made from titles that only one episode has: with two letters swapped, with half of the words left out, or with
the words in another order beside the show's name. Nothing is removed from the text, because search must find exactly
these words. A model that gets better at paraphrases may get worse at these, which no other set would show.
"""

from __future__ import annotations

import random
from collections import Counter

import pyarrow as pa

from include.evaluation.queries import QuerySet
from include.queries.titles import bare_title, count_words

MIN_WORDS, MAX_WORDS = 3, 12
"""Of a title without numbering and show: shorter ones are often another episode's, too; longer ones nobody types."""
SWAPPED_LETTERS = 5
"""A word in which letters are swapped has as many, at the least."""


def known_items(episodes: pa.Table, count: int, *, seed: int) -> QuerySet:
    """Up to ``count`` queries for as many episodes, the kinds taking turns.

    :param episodes: ``episode_id``, ``title`` and ``show_title`` of all that is searched.
    """
    rows = episodes.select(["episode_id", "title", "show_title"]).to_pylist()
    titles = {row["episode_id"]: bare_title(row["title"], row["show_title"]) for row in rows}
    often = Counter(title.casefold() for title in titles.values())
    rows = [row for row in rows if often[titles[row["episode_id"]].casefold()] == 1]
    rows = [row for row in rows if MIN_WORDS <= count_words(titles[row["episode_id"]]) <= MAX_WORDS]
    chance = random.Random(seed)  # noqa: S311 (not for secrets)
    rows.sort(key=lambda row: str(row["episode_id"]))
    chance.shuffle(rows)
    asked: list[tuple[str, str, str]] = []
    for row in rows:
        if len(asked) == count:
            break
        origin = KINDS[len(asked) % len(KINDS)]
        title = titles[row["episode_id"]].casefold()
        query = _MADE[origin](title, row["show_title"].casefold(), chance)
        if query and query != title:
            asked.append((query, row["episode_id"], origin))
    return QuerySet(
        "known",
        [query for query, _, _ in asked],
        [[episode_id] for _, episode_id, _ in asked],
        [origin for _, _, origin in asked],
    )


def _misspelt(title: str, _: str, chance: random.Random) -> str:
    words = title.split()
    long = [place for place, word in enumerate(words) if len(word) >= SWAPPED_LETTERS and word.isalpha()]
    if not long:
        return ""
    place = chance.choice(long)
    letters = list(words[place])
    at = chance.randrange(1, len(letters) - 1)  # people get the first letter right
    letters[at], letters[at + 1] = letters[at + 1], letters[at]
    words[place] = "".join(letters)
    return " ".join(words)


def _half(title: str, _: str, chance: random.Random) -> str:
    words = title.split()
    if len(words) < MIN_WORDS:
        return ""
    kept = set(chance.sample(range(len(words)), max(2, len(words) // 2)))
    return " ".join(word for place, word in enumerate(words) if place in kept)


def _with_show(title: str, show: str, chance: random.Random) -> str:
    words = title.split()
    chance.shuffle(words)
    return f"{show} {' '.join(words)}"


_MADE = {"misspelt": _misspelt, "half of the title": _half, "title and show": _with_show}
KINDS = tuple(_MADE)
