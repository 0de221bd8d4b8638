"""From the dataset's two files to the parts of a snapshot, with every row that cannot be used put in quarantine.

This process reads and judges: it parses the files, finds the show of each episode, and tells repeated ids. Others clean
(:mod:`include.episodes.cleaning`). Memory does not grow with the files, but for some twenty bytes a row.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import re
import shutil
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from include.episodes.cleaning import CleanedRows, Cleaner
from include.episodes.columns import COLUMNS
from include.episodes.csv_reader import RAW_CHARS, Batch
from include.episodes.parts import LocalPart
from include.episodes.quarantine import USABLE_ID, Quarantine, Reason
from include.episodes.raw import batches
from include.episodes.runs import SortedRun
from include.episodes.schema import IN_HTML, MAX_TEXT_CHARS, WARNINGS
from include.episodes.seen import SeenIds
from include.episodes.sources.contract import Folder
from include.episodes.sources.files import find_source
from include.episodes.workers import Workers

LOG_EVERY = 50_000
SMALL_BYTES = 4 * 2**20
"""A file of episodes smaller than this is cleaned before another process has started."""

_USABLE_ID = re.compile(USABLE_ID)

log = logging.getLogger(__name__)


class Prepared:
    """The outcome of :func:`prepare`: files in a folder, which is removed when this is closed.

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

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Prepared:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def prepare(
    folder: Folder,
    *,
    work: Path,
    shards: int,
    processes: int,
    max_file_bytes: int,
    max_text_chars: int = MAX_TEXT_CHARS,
) -> Prepared:
    """Read, join and clean a dataset.

    :param folder: holds ``podcasts.csv`` and ``episodes.csv``, plain or zipped.
    :param work: where the outcome is written, about as large as the dataset; what is there is removed.
    :param shards: number of parts. One part's shows must fit in memory; its episodes need not.
    :param processes: that clean; 0 for one each core that this process may use.
    :param max_file_bytes: most bytes that one file may hold, unpacked.
    :param max_text_chars: length at which a description is cut.
    :raises DatasetError: a file cannot be read as a whole. A row that cannot be used only goes to quarantine.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    prepared = Prepared(work)
    if find_source(folder, "episodes").stat().st_size < SMALL_BYTES:
        processes = 1
    setup = {"folder": work.absolute(), "shards": shards, "max_text_chars": max_text_chars}
    try:
        with Workers(Cleaner, setup, count=processes or len(os.sched_getaffinity(0))) as workers:
            _Preparation(prepared, workers, max_file_bytes).run(folder, shards)
    except BaseException:
        prepared.close()
        raise
    return prepared


@dataclass
class _Job:
    """Rows that are cleaned together: as read, their ids, which of them are sent, and which are rejected already."""

    batch: Batch
    ids: list[str]
    positions: list[int] = field(default_factory=list)
    rejected: dict[int, tuple[Reason, str | None]] = field(default_factory=dict)


class _Preparation:
    """One run of :func:`prepare`: the shows and ids met so far, and what was put aside."""

    def __init__(self, prepared: Prepared, workers: Workers, max_file_bytes: int) -> None:
        self.prepared, self.workers, self.max_file_bytes = prepared, workers, max_file_bytes
        self.quarantine = Quarantine(prepared.quarantine_file)
        files = [f"{file}_{what}" for file in COLUMNS for what in ("read", "kept", "quarantined")]
        self.counts: Counter[str] = Counter(dict.fromkeys([*files, *WARNINGS, IN_HTML], 0))
        self.seen = {file: SeenIds() for file in COLUMNS}
        # Rows that were cleaned and are not to be used after all, since an earlier one has their id.
        self.dropped: dict[str, list[int]] = {file: [] for file in COLUMNS}
        # Hashes of the ids of shows.
        self.shows: set[int] = set()
        self.untitled_shows: set[int] = set()
        self.started, self.logged = 0.0, 0

    def run(self, folder: Folder, shards: int) -> None:
        with self.quarantine:
            for _ in self._cleaned(folder, "podcasts", "shows"):
                pass
            self.started = time.monotonic()
            for _ in self._cleaned(folder, "episodes", "episodes"):
                if self.counts["episodes_read"] - self.logged >= LOG_EVERY:
                    self._log()
            self._log()
            self._make_parts(shards)
        for file in COLUMNS:
            self.counts[f"{file}_quarantined"] = self.quarantine.rows_of(file)
        self.prepared.counts, self.prepared.quarantined = dict(self.counts), self.quarantine.by_reason()

    def _cleaned(self, folder: Folder, file: str, method: str) -> Iterator[None]:
        """Have a file read and cleaned, and its rows judged, job by job."""
        judge = self._shows if file == "podcasts" else self._episodes
        jobs: deque[_Job] = deque()

        def calls() -> Iterator[tuple[pa.Table]]:
            for batch in batches(folder, file, max_file_bytes=self.max_file_bytes):
                job = _Job(batch, _stripped(batch.table["uuid"]))
                table = batch.table.set_column(0, "uuid", pa.array(job.ids, pa.string()))
                table = judge(job, table.append_column("row", pa.array(batch.numbers)))
                jobs.append(job)
                yield (table.take(pa.array(job.positions, pa.int32())) if job.rejected else table,)

        for _, outcome in self.workers.map(method, calls()):
            self._settle(file, jobs.popleft(), outcome)
            yield

    def _shows(self, job: _Job, table: pa.Table) -> pa.Table:
        """Reject shows that need not be cleaned; the table, with what is not wanted left out."""
        for position, uuid in enumerate(job.ids):
            if uuid:
                job.positions.append(position)
            else:
                job.rejected[position] = (Reason.MISSING_ID, None)
        return table.select(["row", "uuid", "title", "description", "language", "categories"])

    def _episodes(self, job: _Job, table: pa.Table) -> pa.Table:
        """Reject episodes that need not be cleaned; the table, with the ids of their shows stripped."""
        owners = _stripped(table["podcast_uuid"])
        for position, (uuid, owner) in enumerate(zip(job.ids, owners, strict=True)):
            show = hash(owner)
            if not uuid:
                job.rejected[position] = (Reason.MISSING_ID, None)
            elif not _USABLE_ID.match(uuid):
                job.rejected[position] = (Reason.BAD_ID, None)
            elif show not in self.shows:
                reason = Reason.SHOW_WITHOUT_TITLE if show in self.untitled_shows else Reason.ORPHAN
                job.rejected[position] = (reason, None)
            else:
                job.positions.append(position)
        place = table.column_names.index("podcast_uuid")
        return table.set_column(place, "podcast_uuid", pa.array(owners, pa.string()))

    def _settle(self, file: str, job: _Job, outcome: CleanedRows) -> None:
        """Take in what became of a job's rows; jobs come here in the order of the file."""
        table, numbers, rejected = job.batch.table, job.batch.numbers.tolist(), job.rejected
        rejected |= {job.positions[place]: why for place, why in outcome.rejected.items()}
        if file == "podcasts":
            self.untitled_shows.update(hash(job.ids[job.positions[place]]) for place in outcome.rejected)
        kept = [place for place in range(len(job.positions)) if place not in outcome.rejected]
        ids = [job.ids[job.positions[place]] for place in kept]
        of_rows = pl.DataFrame(table).hash_rows().reinterpret(signed=True).to_list()
        fingerprints = [of_rows[job.positions[place]] for place in kept]
        repeated = self.seen[file].add(ids, fingerprints)
        for index, first in repeated.items():
            same = first == fingerprints[index]
            detail = "identical to the row that is kept" if same else "differs from the row that is kept"
            position = job.positions[kept[index]]
            rejected[position] = (Reason.DUPLICATE_ID, detail)
            self.dropped[file].append(numbers[position])
            outcome.warnings.pop(kept[index], None)
        if file == "podcasts":
            self.shows.update(map(hash, ids))
        for names in outcome.warnings.values():
            self.counts.update(names)
        if file == "episodes":
            in_html = pc.match_substring(table["description"], "<").to_pylist()
            self.counts[IN_HTML] += sum(in_html) - sum(in_html[position] for position in rejected)
        self.counts[f"{file}_read"] += len(table) + len(job.batch.broken)
        self.counts[f"{file}_kept"] += len(table) - len(rejected)
        self.quarantine.add_broken(file, job.batch.broken)
        unusable = sorted(rejected)
        columns = table.take(pa.array(unusable, pa.int32())).to_pydict().values()
        for position, row in zip(unusable, zip(*columns, strict=True), strict=True):
            reason, why = rejected[position]
            key = job.ids[position][:100]
            self.quarantine.add(file, numbers[position], reason, key=key, detail=why, raw=_as_csv(row))

    def _make_parts(self, shards: int) -> None:
        runs: dict[tuple[str, int], list[SortedRun]] = defaultdict(list)
        for finished in self.workers.broadcast("finish"):
            for kind, some in finished.items():
                for run in some:
                    runs[kind, run.shard].append(run)
        lost_shows, lost = self.dropped["podcasts"], self.dropped["episodes"]
        calls = ((shard, runs["shows", shard], lost_shows, runs["episodes", shard], lost) for shard in range(shards))
        for _, (part, without_description) in self.workers.map("part", calls):
            self.prepared.parts.append(part)
            self.counts["episodes_without_show_description"] += without_description
        for path in {run.path for some in runs.values() for run in some}:
            path.unlink()

    def _log(self) -> None:
        self.logged = read = self.counts["episodes_read"]
        rate = read / max(time.monotonic() - self.started, 1e-9)
        log.info(
            "Prepared %s episodes, kept %s (%.0f a second)", f"{read:,}", f"{self.counts['episodes_kept']:,}", rate
        )


def _stripped(column: pa.ChunkedArray) -> list[str]:
    return [value.strip() for value in column.to_pylist()]


def _as_csv(row: Sequence[str]) -> str:
    """The start of a row as it would stand in a file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([value[:RAW_CHARS] for value in row])
    return text.getvalue()[:RAW_CHARS]
