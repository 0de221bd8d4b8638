"""From the dataset's two files to the parts of a snapshot, with every row that cannot be used put in quarantine.

One thread reads and judges: it parses the files, finds the show of each episode, and tells repeated ids. Others clean
(:mod:`include.episodes.cleaning`). Memory does not grow with the files, but for some hundred bytes a row.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import re
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event

import pyarrow as pa

from include.episodes.cleaning import CleanedRows, clean_episodes, clean_shows, make_part
from include.episodes.columns import COLUMNS
from include.episodes.csv_reader import RAW_CHARS, Batch
from include.episodes.parts import LocalPart
from include.episodes.quarantine import USABLE_ID, Quarantine, Reason
from include.episodes.raw import batches
from include.episodes.runs import SortedRun, SortedRunWriter
from include.episodes.schema import IN_HTML, WARNINGS, shard_of
from include.episodes.seen import SeenIds
from include.episodes.sources.contract import Folder

LOG_EVERY = 50_000
AHEAD = 3
"""Batches read for each thread before the first is done with: memory does not grow with the file."""

_USABLE_ID = re.compile(USABLE_ID)
_Rejected = dict[int, tuple[Reason, str | None]]
"""Why rows cannot be used, by their positions in a batch: a reason and a detail."""

log = logging.getLogger(__name__)


class Prepared:
    """The outcome of :func:`prepare`: files in a folder.

    ``parts`` are the parts of a snapshot, one a shard. ``quarantine_file`` has the rows that could not be used, in the
    shape of :data:`include.episodes.schema.QUARANTINE`. ``counts`` has, for each file, ``<file>_read``, ``<file>_kept``
    and ``<file>_quarantined`` (the first is the sum of the others) and, of what is kept,
    :data:`include.episodes.schema.WARNINGS` and :data:`include.episodes.schema.IN_HTML`.
    ``quarantined`` counts the rows of both files in quarantine by reason.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: list[LocalPart] = []
        self.quarantine_file = folder / "quarantine.parquet"
        self.counts: dict[str, int] = {}
        self.quarantined: dict[str, int] = {}


@contextmanager
def prepare(
    folder: Folder,
    *,
    work: Path,
    shards: int,
    threads: int,
    max_file_bytes: int,
) -> Iterator[Prepared]:
    """Read, join and clean a dataset; the outcome is there until the end of the block.

    :param folder: holds ``podcasts.csv`` and ``episodes.csv``, plain or zipped.
    :param work: where the outcome is written, about as large as the dataset; what is there is removed.
    :param shards: number of parts. One part's shows must fit in memory; its episodes need not.
    :param threads: that clean; 0 for one each core that this process may use.
    :param max_file_bytes: most bytes that one file may hold, unpacked.
    :raises DatasetError: a file cannot be read as a whole. A row that cannot be used only goes to quarantine.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    prepared = Prepared(work)
    threads = threads or len(os.sched_getaffinity(0))
    try:
        with ThreadPoolExecutor(threads, thread_name_prefix="prepare") as pool:
            preparation = _Preparation(prepared, pool, ahead=AHEAD * threads, shards=shards)
            try:
                preparation.run(folder, max_file_bytes=max_file_bytes)
            except BaseException:
                preparation.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        yield prepared
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Preparation:
    """One run of :func:`prepare`: the shows and ids met so far, and what was put aside."""

    def __init__(self, prepared: Prepared, pool: ThreadPoolExecutor, *, ahead: int, shards: int) -> None:
        self.prepared, self.pool, self.ahead, self.shards = prepared, pool, ahead, shards
        self.quarantine = Quarantine(prepared.quarantine_file)
        files = [f"{file}_{what}" for file in COLUMNS for what in ("read", "kept", "quarantined")]
        self.counts: Counter[str] = Counter(dict.fromkeys([*files, *WARNINGS, IN_HTML], 0))
        self.seen = {file: SeenIds() for file in COLUMNS}
        # By the hashes of their ids: the shards of shows, and which have no title.
        self.shows: dict[int, int] = {}
        self.untitled_shows: set[int] = set()
        self.started, self.logged = time.monotonic(), 0
        self.stopped = Event()

    def run(self, folder: Folder, *, max_file_bytes: int) -> None:
        with self.quarantine:
            read = partial(batches, folder, max_file_bytes=max_file_bytes)
            shows = self._sorted("podcasts", read("podcasts"), clean_shows)
            episodes = self._sorted("episodes", read("episodes"), clean_episodes)
            self._log()
            self._make_parts(shows, episodes)
        for file in COLUMNS:
            self.counts[f"{file}_quarantined"] = self.quarantine.rows_of(file)
        self.prepared.counts, self.prepared.quarantined = dict(self.counts), self.quarantine.by_reason()

    def _sorted(self, file: str, read: Iterable[Batch], clean: Callable[[pa.Table], CleanedRows]) -> list[SortedRun]:
        """Have what is read of a file cleaned, and judge its rows; those that are kept."""
        writer = SortedRunWriter(self.prepared.folder, file)
        waiting: deque[tuple[Batch, Future[CleanedRows]]] = deque()
        for batch in read:
            waiting.append((batch, self.pool.submit(clean, batch.table)))
            if len(waiting) > self.ahead:
                self._settle(file, *waiting.popleft(), writer)
        while waiting:
            self._settle(file, *waiting.popleft(), writer)
        return writer.finish()

    def _settle(self, file: str, batch: Batch, future: Future[CleanedRows], writer: SortedRunWriter) -> None:
        """Judge a batch's rows and write those that are kept; batches come here in the order of the file."""
        cleaned = future.result()
        ids: list[str] = cleaned.table[0].to_pylist()
        if file == "podcasts":
            shows = list(map(hash, ids))
            rejected = self._rejected_shows(ids, shows, cleaned.untitled)
        else:
            shows = list(map(hash, cleaned.table["podcast_id"].to_pylist()))
            rejected = self._rejected_episodes(ids, shows, cleaned.untitled)
        kept = [position for position in range(len(ids)) if position not in rejected]
        fingerprints = [cleaned.fingerprints[position] for position in kept]
        repeated = self.seen[file].add([ids[position] for position in kept], fingerprints)
        for index, first in repeated.items():
            same = first == fingerprints[index]
            detail = "identical to the row that is kept" if same else "differs from the row that is kept"
            rejected[kept[index]] = (Reason.DUPLICATE_ID, detail)
        self._count(file, batch, cleaned, rejected)
        self._put_aside(file, batch, ids, rejected)
        owners = [None if position in rejected else self.shows[show] for position, show in enumerate(shows)]
        writer.add(cleaned.table.append_column("shard", pa.array(owners, pa.int32())))
        if self.counts["episodes_read"] - self.logged >= LOG_EVERY:
            self._log()

    def _rejected_shows(self, ids: list[str], shows: list[int], untitled: set[int]) -> _Rejected:
        """Shows that cannot be used, but for repeated ones; what they are is remembered for their episodes."""
        rejected: _Rejected = {}
        for position, (key, show) in enumerate(zip(ids, shows, strict=True)):
            if not key:
                rejected[position] = (Reason.MISSING_ID, None)
            elif position in untitled:
                rejected[position] = (Reason.MISSING_TITLE, None)
                self.untitled_shows.add(show)
            else:
                self.shows[show] = shard_of(key, self.shards)
        return rejected

    def _rejected_episodes(self, ids: list[str], shows: list[int], untitled: set[int]) -> _Rejected:
        """Episodes that cannot be used, but for repeated ones."""
        rejected: _Rejected = dict.fromkeys(untitled, (Reason.MISSING_TITLE, None))
        for position, (key, show) in enumerate(zip(ids, shows, strict=True)):
            if not key:
                rejected[position] = (Reason.MISSING_ID, None)
            elif not _USABLE_ID.match(key):
                rejected[position] = (Reason.BAD_ID, None)
            elif show not in self.shows:
                reason = Reason.SHOW_WITHOUT_TITLE if show in self.untitled_shows else Reason.ORPHAN
                rejected[position] = (reason, None)
        return rejected

    def _count(self, file: str, batch: Batch, cleaned: CleanedRows, rejected: _Rejected) -> None:
        for position, names in cleaned.warnings.items():
            if position not in rejected:
                self.counts.update(names)
        if file == "episodes":
            in_html = cleaned.in_html
            self.counts[IN_HTML] += sum(in_html) - sum(in_html[position] for position in rejected)
        self.counts[f"{file}_read"] += len(batch.table) + len(batch.broken)
        self.counts[f"{file}_kept"] += len(batch.table) - len(rejected)

    def _put_aside(self, file: str, batch: Batch, ids: list[str], rejected: _Rejected) -> None:
        self.quarantine.add_broken(file, batch.broken)
        unusable = sorted(rejected)
        columns = batch.table.take(pa.array(unusable, pa.int32())).to_pydict().values()
        for position, row in zip(unusable, zip(*columns, strict=True), strict=True):
            (reason, why), key = rejected[position], ids[position][:100]
            self.quarantine.add(file, int(batch.numbers[position]), reason, key=key, detail=why, raw=_as_csv(row))

    def _make_parts(self, shows: list[SortedRun], episodes: list[SortedRun]) -> None:
        def make(shard: int) -> tuple[LocalPart, int]:
            mine = ([run for run in runs if run.shard == shard] for runs in (shows, episodes))
            path = self.prepared.folder / f"part-{shard:04d}.parquet"
            return make_part(path, shard, *mine, stopped=self.stopped)

        for part, without_description in self.pool.map(make, range(self.shards)):
            self.prepared.parts.append(part)
            self.counts["episodes_without_show_description"] += without_description
        for path in {run.path for run in [*shows, *episodes]}:
            path.unlink()

    def _log(self) -> None:
        self.logged = read = self.counts["episodes_read"]
        rate = read / max(time.monotonic() - self.started, 1e-9)
        log.info(
            "Prepared %s episodes, kept %s (%.0f per second)", f"{read:,}", f"{self.counts['episodes_kept']:,}", rate
        )


def _as_csv(row: Sequence[str]) -> str:
    """The start of a row as it would stand in a file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([value[:RAW_CHARS] for value in row])
    return text.getvalue()[:RAW_CHARS]
