"""A made-up catalogue in the Kaggle files' shape and at its size, and what ingestion makes of a catalogue.

The same seed gives the same files.
"""

from __future__ import annotations

import csv
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_type_hints

from include.episodes.columns import COLUMNS
from include.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from include.episodes.snapshot import Manifest
    from include.storage import ArtifactStore

SETTINGS: Any = SimpleNamespace(**{name: group.model_construct() for name, group in get_type_hints(Settings).items()})
"""Every setting's default."""
SEED = 20171201
NULL_TITLE = 0.002
NULL_DESCRIPTION = 0.055
"""Shares of empty fields, of shows and of episodes: about 11 % of the real episodes lack one of the four fields."""
ORPHANS = 0.008
"""Share of episodes whose show is missing: 881,000 become 873,820 in the real join."""
DUPLICATES = 0.005
"""Share of episodes that stand twice; every second one of them has another title then."""

_ALPHABETS = {
    "abcdefghijklmnopqrstuvwxyzeeeeaaaiiooutsn": 70,
    "abcdefghijklmnoprstuvzeeaaiäöüéèñçå": 20,
    "абвгдежзиклмнопрстуфхцчшщыэюя": 6,
    "的一是不了人我在有他这中大来上个国到说们": 4,
}
"""Letters that words are made of, and how often a text is in them."""
_STREAM_WORDS = 300_000
_OPENING = ("<p>", "<div>", '<p class="notes">', "<p><br></p><p>", "<h3>Show notes</h3><p>")
_CLOSING = ("</p>", "</div>", "</p>", "</p>", "</p>\n")
_BETWEEN = ("</p><p>", "<br />", "<br><br>", "</p>\n<p>", "</div><div>", ". ", " ", ", ", ". ", "! ")
_MARKED = (
    '<a href="https://example.org/{1}?utm_source=rss&amp;utm_medium=feed" rel="nofollow">{0}</a>',
    "<strong>{0}</strong>: {1}",
    "<em>{0} {1}</em>",
    "<ul><li>{0}</li><li>{1}</li></ul>",
    "{0} &amp; {1}",
    "{0}&nbsp;{1}",
    "{0}&#39;s {1}…",
    "“{0}” ({1})",
    '<span style="font-weight: 400;">{0} {1}</span>',
)


def write_catalogue(folder: Path, *, episodes: int, shows: int, seed: int = SEED) -> Path:
    """Write ``podcasts.csv`` and ``episodes.csv``: about 1.3 GB for 881,000 episodes of 125,000 shows.

    Titles have 3 to 12 words, descriptions 10 to 300 in HTML; a share of the fields is empty, of the episodes stands
    twice, and of the shows is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = _Writer(seed, shows)
    for name, rows in (("podcasts", writer.shows()), ("episodes", writer.episodes(episodes))):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(COLUMNS[name])
            out.writerows(rows)
    return folder


def ingested(dataset: Path, folder: Path, *, columns: list[str]) -> pa.Table:
    """The episodes of the snapshot that ingestion makes of a dataset, in the order of their ids.

    :param folder: where the snapshot is written.
    """
    from include.episodes import snapshot
    from include.episodes.sources.directory import DirectorySource
    from include.storage import ArtifactStore

    store = ArtifactStore(folder)
    version = DirectorySource(dataset).latest_version()
    made = make_snapshot(store, dataset, folder / "work", version=version, name="benchmark")
    return snapshot.read(store, made.snapshot_id, columns=columns).sort_by("episode_id")


def make_snapshot(store: ArtifactStore, dataset: Path, work_root: Path, *, version: str, name: str) -> Manifest:
    """What the task ``prepare_snapshot`` does, with the settings' defaults, where the source is a directory.

    :param version: what was looked up; that the files are still that version is a part of the work.
    :param name: what the snapshot calls the version, so that there can be two of one.
    """
    from include.episodes import ingest
    from include.episodes.sources.directory import DirectorySource

    source = DirectorySource(dataset)
    return ingest.make_snapshot(
        store,
        dataset,
        source_version=name,
        unchanged=lambda: source.fetch(version),
        work_root=work_root,
        shards=SETTINGS.episodes.shards,
        threads=SETTINGS.devices.threads,
        max_file_bytes=SETTINGS.episodes.max_file_bytes,
    )


class _Writer:
    """Makes rows. Their words are slices of one long random text of each alphabet, which is quick."""

    def __init__(self, seed: int, shows: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311
        self.streams = [_words(self.rng, letters) for letters in _ALPHABETS]
        self.show_count = shows

    def shows(self) -> Iterator[tuple[str, ...]]:
        for number in range(self.show_count):
            title, about = self._texts(self.rng.randint(10, 150))
            page = f"https://example.org/{number}"
            author = title[:20]
            yield (_id("show", number), title, f"{page}.jpg", about, "English", "Arts | Education", page, author, "1")

    def episodes(self, count: int) -> Iterator[tuple[str, ...]]:
        repeats: list[tuple[str, ...]] = []
        start = datetime(2017, 12, 1, tzinfo=UTC)
        for number in range(count):
            if repeats and self.rng.random() < DUPLICATES:
                row = repeats.pop()
                yield row if number % 2 else (row[0], f"{row[1]} (again)", *row[2:])
                continue
            title, about = self._texts(self.rng.randint(10, 300))
            key = _id("episode", number)
            show = self.rng.randrange(self.show_count) if self.rng.random() >= ORPHANS else -1 - number
            date = start + timedelta(seconds=self.rng.randrange(31 * 86400))
            length = str(self.rng.randrange(60, 7200))
            row = (key, title, f"https://example.org/{key}.mp3", length, f"{date:%Y-%m-%d %H:%M:%S}+00", about)
            row = (*row, _id("show", show))
            if number % 100 == 0 and len(repeats) < 1000:
                repeats.append(row)
            yield row

    def _texts(self, words: int) -> tuple[str, str]:
        """A title and a description of so many words; now and then one of them is empty."""
        stream = self.rng.choices(self.streams, list(_ALPHABETS.values()))[0]
        draw = self.rng.random()
        title = " ".join(self._slice(stream, self.rng.randint(3, 12))).capitalize() if draw >= NULL_TITLE else ""
        about = self._description(stream, words) if draw < 1 - NULL_DESCRIPTION else ""
        return title, about

    def _description(self, stream: list[str], words: int) -> str:
        rng = self.rng
        kind = rng.randrange(len(_OPENING))
        parts = [_OPENING[kind]]
        while words > 0:
            run = min(words, rng.randint(4, 20))
            piece = self._slice(stream, run)
            if run > 3 and rng.random() < 0.5:
                piece[-2:] = [rng.choice(_MARKED).format(*piece[-2:])]
            parts.append(" ".join(piece))
            words -= run
            parts.append(rng.choice(_BETWEEN) if words > 0 else _CLOSING[kind])
        return "".join(parts)

    def _slice(self, stream: list[str], words: int) -> list[str]:
        start = int(self.rng.random() * (_STREAM_WORDS - words))
        return stream[start : start + words]


def _words(rng: random.Random, letters: str) -> list[str]:
    vocabulary = ["".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(20_000)]
    # Zipf's law: the n-th word occurs about 1/n as often as the first.
    return rng.choices(vocabulary, [1 / rank for rank in range(1, len(vocabulary) + 1)], k=_STREAM_WORDS)


def _id(kind: str, number: int) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{number}").hex
