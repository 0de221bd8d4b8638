"""Artifacts that are no longer needed, by kind, and their removal.

An artifact is removed if it is older than the retention of its kind (its newest file counts) and nothing needs it
(:mod:`.needs`). Models, their vectors and namespaces are retired elsewhere, when what is live changes
(:mod:`include.index.retire`, :mod:`include.index.retire_models`); what they leave behind is removed here, and so are
vectors of texts that are gone, though their model stays (:mod:`.vectors`).

The caller must make sure that nobody else is working on more than what is live. Artifacts that are written to after
they were examined stay all the same. If it is killed at any moment and repeated, it ends in the same state: a manifest
is removed first, and what is left of an artifact keeps its age.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter

from include.episodes import snapshot
from include.episodes.sources.feeds import state as feed_state
from include.evaluation import comparison, reports, run
from include.housekeeping.needs import Needs
from include.housekeeping.summary import Summary
from include.housekeeping.vectors import compact
from include.index import live, live_page, plan, watched
from include.quality import drift, pages, profile, result, trend
from include.retriever import encode, registry
from include.retriever.composition import COMPOSITION
from include.retriever.training import plan as training
from include.storage import MANIFEST, ArtifactStore, StoredFile

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Days:
    """How many days to keep what is no longer needed."""

    work: int
    """What runs leave behind: snapshots, downloads, evaluations, comparisons, plans, trainings without a model."""
    reports: int
    """What people read: reports, Data Docs, the history of what was live."""


@dataclass(frozen=True)
class ArtifactKind:
    """Artifacts that are kept for the same reasons.

    :param folder: where they are.
    :param days: for how many they are kept at least.
    :param needed: names that are kept whatever their age.
    :param newest: how many are kept whatever their age, of those in one folder.
    :param depth: how many names below ``folder`` one artifact is.
    """

    name: str
    folder: tuple[str, ...]
    days: int
    needed: Set[str] = frozenset()
    newest: int = 0
    depth: int = 1


@dataclass(frozen=True)
class Artifact:
    """A file or a folder, when it was written to last, and the files of it that may go."""

    kind: str
    path: tuple[str, ...]
    modified: datetime
    files: tuple[StoredFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def prune(store: ArtifactStore, days: Days, *, dry_run: bool, now: datetime | None = None) -> Summary:
    """Remove what is no longer needed. Nothing is removed before something is live.

    :param dry_run: only report what would be removed.
    :raises PermanentError: what is live is unknown.
    """
    now = now or datetime.now(UTC)
    summary, needs = Summary(dry_run=dry_run), Needs(store)
    if needs.pointers:  # something is live
        compact(store, needs, summary, before=now - timedelta(days=days.work))
        for artifact in _expired(store, needs, days, now):
            if dry_run or _remove(store, artifact):
                summary.add(artifact.kind, artifact.bytes)
    if not dry_run and (cleared := store.clear_unfinished()):
        log.info("Removed %d unfinished writes.", cleared)
    return summary


def _expired(store: ArtifactStore, needs: Needs, days: Days, now: datetime) -> Iterator[Artifact]:
    """What :func:`prune` removes whole, kind by kind."""
    profiles = needs.profiles(max(drift.WINDOW, trend.WINDOW) + 1)  # they leave out the one that is held against them
    for kind in _kinds(store, needs, days, now):
        for artifact in _artifacts(kind, store.files(*kind.folder)):
            if artifact.modified >= now - timedelta(days=kind.days) or artifact.path[-1] in kind.needed:
                continue
            if kind.folder == (snapshot.FOLDER,) and artifact.path[-1] in profiles:
                artifact = replace(artifact, files=tuple(one for one in artifact.files if one.path[-1] != profile.FILE))
            if artifact.files:
                yield artifact


def _kinds(store: ArtifactStore, needs: Needs, days: Days, now: datetime) -> list[ArtifactKind]:
    evaluations = needs.evaluations(store.files(run.FOLDER))
    decisions = {name for name in store.names(comparison.DECISIONS) if needs.decides(name)}
    feeds = needs.feeds(now - timedelta(days=days.work))
    notes = {name for name in store.names(registry.FOLDER) if name.endswith(".json")}
    composed = f"composition{COMPOSITION}"
    return [
        ArtifactKind("snapshots", (snapshot.FOLDER,), days.work, needs.snapshots | {snapshot.LATEST}),
        ArtifactKind("downloads", ("downloads", "feeds"), days.work, newest=1),
        ArtifactKind("downloads", ("downloads", "kaggle"), days.work, newest=1, depth=3),
        ArtifactKind("feeds taken off the list", (feed_state.FOLDER,), days.work, feeds),
        ArtifactKind("trainings", (training.FOLDER,), days.work, needs.trainings),
        ArtifactKind("unfinished models", (registry.FOLDER,), days.work, needs.versions | notes),
        ArtifactKind("embeddings of retired models", (encode.FOLDER,), days.work, needs.versions),
        ArtifactKind("embeddings of an earlier composition", (encode.FOLDER,), days.work, {composed}, depth=2),
        ArtifactKind("evaluations", (run.FOLDER,), days.work, evaluations, newest=1),
        ArtifactKind("comparisons", (comparison.FOLDER,), days.work, newest=1),
        ArtifactKind("decisions on retired models", (comparison.DECISIONS,), days.work, decisions),
        ArtifactKind("plans of re-indexes", (plan.FOLDER,), days.work, needs.plans, newest=1),
        ArtifactKind("reports", (reports.FOLDER,), days.reports, needs.reports),
        ArtifactKind("Data Docs", (result.FOLDER,), days.reports, newest=pages.RUNS),
        ArtifactKind("what was live", (live.HISTORY,), days.reports, newest=live_page.SHOWN),
        ArtifactKind("observations of search", watched.FOLDER, days.reports, newest=live_page.DAYS),
    ]


def _artifacts(kind: ArtifactKind, files: list[StoredFile]) -> Iterator[Artifact]:
    """The artifacts of a kind, but for the newest of each folder, which are kept."""
    place = len(kind.folder) + kind.depth
    ordered = sorted((file for file in files if not file.path[-1].endswith(".lock")), key=attrgetter("path"))
    found = []
    for path, group in groupby(ordered, key=lambda file: file.path[:place]):
        own = tuple(group)
        found.append(Artifact(kind.name, path, max(file.modified for file in own), own))
    for _, siblings in groupby(found, key=lambda artifact: artifact.path[:-1]):
        newest_first = sorted(siblings, key=attrgetter("modified"), reverse=True)
        yield from newest_first[kind.newest :]


def _remove(store: ArtifactStore, artifact: Artifact) -> bool:
    """Remove an artifact, unless it was written to since it was examined. Returns whether it is gone."""
    now_there = store.files(*artifact.path)
    if any(file.modified > artifact.modified for file in now_there):
        return False
    if set(artifact.files) >= set(now_there):
        for file in artifact.files:
            if file.path[-1] == feed_state.STATE:  # first, like a manifest: without it, a feed is read anew
                store.remove(*file.path)
        store.remove(*artifact.path)
        return True
    for file in sorted(artifact.files, key=lambda file: file.path[-1] != MANIFEST):
        store.remove(*file.path)
    return True
