"""What must stay in the artifact store, however old it is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from itertools import combinations

import pyarrow as pa

from include.episodes import snapshot
from include.episodes.schema import content_hash
from include.episodes.sources.feeds import state as feed_state
from include.evaluation import run
from include.index.live import history, read_live
from include.index.live_page import SHOWN
from include.index.plan import JOURNALS, read_journal
from include.retriever.registry import registered
from include.storage import MANIFEST, ArtifactStore, StoredFile

PUBLICATIONS = 3
"""Snapshots that one can go back to whatever their age: the last ones that were published."""


class Needs:
    """Names of artifacts, by kind, that search, a rollback, the next run or a page of what is live reads."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store
        live = read_live(store)
        self.pointers = [pointer for pointer in (live, live.previous if live else None) if pointer]
        self.journals = [
            read_journal(store, name.removesuffix(".json")) for name in store.names(JOURNALS) if name.endswith(".json")
        ]
        self.models = registered(store)

    @cached_property
    def snapshots(self) -> set[str]:
        """What is live, what can be gone back to, and what an index may hold: the next difference starts from it."""
        published = dict.fromkeys(item.snapshot_id for item in reversed(snapshot.publications(self.store)))
        latest = snapshot.latest(self.store)
        return {
            *([latest.snapshot_id] if latest else []),
            *list(published)[:PUBLICATIONS],
            *(pointer.snapshot_id for pointer in self.pointers),
            *(state for journal in self.journals for state in journal.states if state),
        }

    @cached_property
    def texts(self) -> pa.Array:
        """Hashes of the texts that these snapshots and the test queries of evaluations have, whose vectors are read."""
        tested = [
            content_hash(text)
            for name in self.store.names(run.FOLDER)
            if self.store.exists(run.FOLDER, name, run.QUERIES_FILE)
            for query_set in run.read_query_sets(self.store, name)
            for text in query_set.positives or ()
        ]
        texts = pa.array(tested, pa.string())
        for name in sorted(self.snapshots):
            own = snapshot.read(self.store, name, columns=["content_hash"])["content_hash"]
            texts = pa.chunked_array([texts, *own.chunks]).unique()
        return texts

    def feeds(self, since: datetime) -> set[str]:
        """Feeds that are on the list, or were at some time since then; and what is known of all feeds together."""
        gone = {name for name, when in feed_state.read_unlisted(self.store).items() if when < since}
        return set(self.store.names(feed_state.FOLDER)) - gone

    def profiles(self, window: int) -> set[str]:
        """Snapshots whose profiles drift is measured against, or the trend is drawn from."""
        return {item.snapshot_id for item in snapshot.publications(self.store)[-window:]}

    @cached_property
    def plans(self) -> set[str]:
        """Re-indexes that may write to a namespace."""
        return {journal.plan_id for journal in self.journals if journal.plan_id}

    @cached_property
    def versions(self) -> set[str]:
        """Registered models."""
        return {manifest.version for manifest in self.models}

    @cached_property
    def trainings(self) -> set[str]:
        """Trainings of registered models: test queries are drawn from them."""
        return {manifest.training_id for manifest in self.models if manifest.training_id}

    @cached_property
    def reports(self) -> set[str]:
        """Reports that the page of what is live links to."""
        pointers = [*self.pointers, *history(self.store, most=SHOWN)]
        return {pointer.report.split("/")[1] for pointer in pointers if pointer.report and "/" in pointer.report}

    def evaluations(self, files: Iterable[StoredFile]) -> set[str]:
        """The newest evaluation of any two registered models, for comparing them.

        :param files: of all evaluations.
        """
        measured: dict[str, set[str]] = {}
        for file in sorted(files, key=lambda file: file.modified):
            if len(file.path) == 4 and file.path[3] == MANIFEST and file.path[2] in self.versions:
                measured.setdefault(file.path[1], set()).add(file.path[2])
        newest: dict[tuple[str, str], str] = {}
        for name, versions in measured.items():
            newest |= dict.fromkeys(combinations(sorted(versions), 2), name)
        return set(newest.values())

    def decides(self, name: str) -> bool:
        """Whether a decision of the gate, named after two models, is about models that still exist."""
        return set(name.removesuffix(".json").split("--")) <= self.versions
