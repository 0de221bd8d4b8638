"""What each validation of ``ingest_episodes`` looks at, and what it expects: a table and its suite.

Tables are made from streams: what stays in memory is a few facts about each row (:mod:`include.quality.frames`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import pyarrow.compute as pc

from include.episodes import snapshot
from include.episodes.raw import RawFile
from include.episodes.snapshot import Manifest
from include.episodes.sources.contract import Folder
from include.quality import drift, frames, profile, suites, trend
from include.quality.result import DOCS, FOLDER
from include.storage import ArtifactStore

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd

File = Literal["podcasts", "episodes"]
Check = tuple["pd.DataFrame", "gx.ExpectationSuite"]

log = logging.getLogger(__name__)


def raw_file(
    folder: Folder,
    file: File,
    *,
    previous: Manifest | None,
    max_file_bytes: int,
    max_quarantined_share: float,
    max_shrink: float,
) -> Check:
    """A file of the dataset as delivered, compared with what the last snapshot was made from.

    :param folder: holds ``podcasts.csv`` and ``episodes.csv``, plain or zipped.
    :param previous: the last snapshot, if it is to be held against one.
    :param max_file_bytes: most bytes that the file may hold, unpacked.
    :raises DatasetError: the file cannot be read as a whole.
    """
    raw = RawFile(folder, file, max_file_bytes=max_file_bytes)
    if file == "podcasts":
        frame, build = frames.raw_podcasts(raw.reader()), suites.raw_podcasts
    else:
        podcasts = RawFile(folder, "podcasts", max_file_bytes=max_file_bytes)
        frame, build = frames.raw_episodes(raw.reader(), podcasts.column("uuid")), suites.raw_episodes
    suite = build(
        malformed=raw.malformed,
        rows_read=raw.rows_read,
        previous_rows=previous.counts.get(f"{file}_read") if previous else None,
        max_quarantined_share=max_quarantined_share,
        max_shrink=max_shrink,
    )
    return frame, suite


def episodes(
    store: ArtifactStore,
    snapshot_id: str,
    *,
    previous: Manifest | None,
    max_quarantined_share: float,
    max_shrink: float,
) -> Check:
    """The episodes of a snapshot, and their number against that of the last one.

    :param previous: the last snapshot, if it is to be held against one.
    """
    files = snapshot.read_quarantine(store, snapshot_id, columns=["file"])["file"]
    quarantined = pc.sum(pc.equal(files, "episodes")).as_py() or 0
    suite = suites.episodes(
        quarantined=quarantined,
        rows_read=snapshot.load(store, snapshot_id).episodes + quarantined,
        previous_rows=previous.episodes if previous else None,
        max_quarantined_share=max_quarantined_share,
        max_shrink=max_shrink,
    )
    return frames.prepared_episodes(snapshot.reader(store, snapshot_id)), suite


def profiles(store: ArtifactStore, snapshot_id: str, *, run_name: str, accepted: bool, max_shrink: float) -> Check:
    """The profile of a snapshot, which is stored beside it, compared with those of the last published ones.

    The trend is drawn beside the Data Docs of the run.

    :param run_name: names the folder of the results.
    :param accepted: whether a person has accepted that the catalogue differs from earlier ones.
    """
    new = profile.record(store, snapshot_id, starts_history=accepted)
    past = profile.published(store, window=trend.WINDOW - 1, before=snapshot_id)
    page = trend.render(past, candidate=new, home="index.html")
    store.write_bytes(page.encode(), FOLDER, run_name, DOCS, trend.PAGE)
    history = [] if accepted else profile.history(store, window=drift.WINDOW, before=snapshot_id)
    if not history:
        log.info("Drift was accepted." if accepted else "No snapshot had been published before.")
    frame = drift.frame(new, history, withdrawn=profile.withdrawn(store, snapshot_id))
    return frame, drift.suite(new, history, max_shrink=max_shrink)
