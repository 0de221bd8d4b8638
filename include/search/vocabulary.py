"""The titles of a snapshot: completing what somebody types, and correcting words."""

from __future__ import annotations

import heapq
import logging
import re
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from include.episodes import snapshot
from include.search.folding import WORD_START, fold, visible
from include.storage import ArtifactStore

log = logging.getLogger(__name__)

MAX_EPISODES = 100_000
"""How many episodes' titles are kept, the newest: memory stays at some tens of MiB for larger catalogues, too."""
MAX_SHOWS = 100_000
"""The same for shows: those with the most episodes."""
KEY_CHARS = 80
"""How much of a title is compared: nobody types further without looking."""
LEAST_LETTERS = 4
"""Shorter words are too close to too many others."""
LEAST_TITLES = 2
"""A word in fewer titles may be a typo itself."""
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Suggestion:
    """A title that completes what somebody types.

    :param id: of the show, or of one of the episodes with that title.
    """

    text: str
    kind: Literal["show", "episode"]
    id: str


class Vocabulary:
    """The titles of shows and episodes, sorted by each of their words' beginnings.

    :param shows: the most important first; ``episodes`` likewise.
    """

    def __init__(self, snapshot_id: str, shows: Iterable[tuple[str, str]], episodes: Iterable[tuple[str, str]]) -> None:
        self.snapshot_id = snapshot_id
        self._entries: list[Suggestion] = []
        self._folded: list[str] = []
        self._words: Counter[str] = Counter()
        self._spellings: dict[str, str] = {}
        seen: set[str] = set()
        for suggestion in _suggestions(shows, episodes):
            self._read(suggestion.text)
            folded = fold(suggestion.text)[:KEY_CHARS]
            if folded not in seen:  # of a show and an episode that are called the same, the show
                seen.add(folded)
                self._entries.append(suggestion)
                self._folded.append(folded)
        self._letters = _letters(self._words)
        self._sort()

    @classmethod
    def of(cls, store: ArtifactStore, snapshot_id: str) -> Vocabulary:
        """The vocabulary of a snapshot."""
        sizes: Counter[str] = Counter()
        titles: dict[str, str] = {}

        def read() -> Iterator[tuple[datetime, str, str]]:
            columns = ["episode_id", "podcast_id", "title", "show_title", "published_at"]
            for batch in snapshot.reader(store, snapshot_id, columns=columns):
                for row in batch.to_pylist():
                    sizes[row["podcast_id"]] += 1
                    titles[row["podcast_id"]] = row["show_title"]
                    yield row["published_at"] or _EARLIEST, row["title"], row["episode_id"]

        newest = heapq.nlargest(MAX_EPISODES, read(), key=lambda one: one[0])
        shows = [(titles[key], key) for key, _ in sizes.most_common(MAX_SHOWS)]
        return cls(snapshot_id, shows, ((title, key) for _, title, key in newest))

    @property
    def shows(self) -> Iterator[Suggestion]:
        """The shows, the most important first."""
        return (one for one in self._entries if one.kind == "show")

    def suggest(self, beginning: str, k: int) -> list[Suggestion]:
        """Up to k titles in which a word begins like this: first titles that begin so themselves, then shows, then
        shorter ones.

        :param beginning: of a title, or of a part of one.
        """
        wanted = fold(" ".join(beginning.split()) + " " * beginning[-1:].isspace())
        word = WORD_START.search(wanted)  # titles are sorted by their words, not by a sign before them
        if word is None:
            return []
        wanted = wanted[word.start() :][:KEY_CHARS]
        first = bisect_left(self._order, wanted, key=self._key)
        last = bisect_right(self._order, wanted, first, key=lambda place: self._key(place)[: len(wanted)])
        ranks = self._ranks[first:last]
        # A title is found by several of its words: there are enough others among so many.
        few = min(len(ranks), 16 * k)
        best = np.argpartition(ranks, few - 1)[:few] if few else ranks[:0].astype(int)
        found = dict.fromkeys(int(self._places[self._order[first + at], 0]) for at in best[np.argsort(ranks[best])])
        return [self._entries[entry] for entry in list(found)[:k]]

    def meant(self, query: str, known: Callable[[str], bool]) -> str | None:
        """A query with its unknown words replaced by words of titles; None if there are no such words.

        :param known: whether a word is anywhere in the live index, including descriptions.
        """

        def mended(word: re.Match[str]) -> str:
            nearest = None if fold(word[0]) in self._words else self._nearest(fold(word[0]))
            # The index is asked last, because it takes longest.
            return self._spellings[nearest] if nearest and not known(word[0]) else word[0]

        put = _WORD.sub(mended, query)
        return put if put != query else None

    def _nearest(self, word: str) -> str | None:
        """The most frequent word that is one typo away from another."""
        if len(word) < LEAST_LETTERS or not word.isalpha():
            return None
        near = {one for one in _slips(word, self._letters) if self._words.get(one, 0) >= LEAST_TITLES}
        return max(near, key=lambda one: (self._words[one], one), default=None)

    def _read(self, title: str) -> None:
        for word in set(_WORD.findall(title)):
            self._words[fold(word)] += 1
            self._spellings.setdefault(fold(word), word.casefold())

    def _sort(self) -> None:
        places = [
            (number, start.start()) for number, text in enumerate(self._folded) for start in WORD_START.finditer(text)
        ]
        self._places = np.array(places or np.empty((0, 2)), np.int32)
        self._order = np.array(sorted(range(len(places)), key=self._key), np.int32)
        starts, numbers = self._places[:, 1] > 0, self._places[:, 0]
        shows = np.array([one.kind == "show" for one in self._entries], bool)
        lengths = np.array([len(one) for one in self._folded], np.int32)
        ranked = np.lexsort((numbers, lengths[numbers], ~shows[numbers], starts))
        ranks = np.empty(len(places), np.int32)
        ranks[ranked] = np.arange(len(places), dtype=np.int32)
        self._ranks = ranks[self._order]

    def _key(self, place: int) -> str:
        number, start = self._places[place]
        return f"{self._folded[number][start:]} "  # as somebody types after a whole word


class Vocabularies:
    """The vocabulary of what is live. Reading one takes seconds; meanwhile the previous one is available."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._newest: Vocabulary | None = None
        self._first, self._reading = threading.Lock(), threading.Lock()

    def of(self, snapshot_id: str) -> Vocabulary:
        """A snapshot's vocabulary, or the previous one while it is being read; the first one is waited for."""
        with self._first:
            self._newest = self._newest or Vocabulary.of(self._store, snapshot_id)
        return self.at_hand(snapshot_id) or self._newest

    def at_hand(self, snapshot_id: str) -> Vocabulary | None:
        """The same without waiting: None until the first is there."""
        newest = self._newest
        if newest and newest.snapshot_id != snapshot_id and self._reading.acquire(blocking=False):
            threading.Thread(target=self._read, args=(snapshot_id,), name="vocabulary", daemon=True).start()
        return newest

    def _read(self, snapshot_id: str) -> None:
        try:
            self._newest = Vocabulary.of(self._store, snapshot_id)
        except Exception:
            log.exception("The titles of the snapshot %s cannot be read; previous ones are suggested.", snapshot_id)
        finally:
            self._reading.release()


def _suggestions(shows: Iterable[tuple[str, str]], episodes: Iterable[tuple[str, str]]) -> Iterator[Suggestion]:
    yield from (Suggestion(_plain(text), "show", key) for text, key in shows)
    yield from (Suggestion(_plain(text), "episode", key) for text, key in episodes)


def _plain(text: str) -> str:
    """A title on one line, without invisible characters."""
    return " ".join(visible(text).split())


def _letters(words: Counter[str]) -> str:
    """The letters that typos are made of: those of the catalogue's main scripts."""
    counts: Counter[str] = Counter()
    for word, often in words.items():
        counts.update({letter: often for letter in set(word) if letter.isalpha()})
    return "".join(letter for letter, _ in counts.most_common(64))


def _slips(word: str, letters: str) -> Iterator[str]:
    """What a word becomes if one letter is left out, added or replaced, or two are swapped."""
    for at in range(len(word) + 1):
        before, after = word[:at], word[at:]
        if after:
            yield before + after[1:]
            yield from (before + letter + after[1:] for letter in letters)
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
        yield from (before + letter + after for letter in letters)
