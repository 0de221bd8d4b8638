"""Planning a re-index: nothing, a difference, or a full build; and the journal that makes it safe to interrupt.

The journal of a namespace names every snapshot whose records it may hold. A write first adds its own snapshot to it;
only a verified namespace is back to one. So a run that follows an interrupted one compares against all states in
between, and ends in exactly its own snapshot, without asking the index what it holds. Where the journal cannot be
trusted (the index is another one, or did not hold what it should), it says so, and the next run builds in full.

It also names the plan that writes to the namespace: a step of an earlier plan, cleared by hand or left over from a
worker that was given up, is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel

from include.episodes import snapshot
from include.episodes.difference import difference
from include.errors import OvertakenError, PermanentError
from include.index.contract import FORMAT, EpisodeIndex
from include.index.live import LivePointer, read_live, require_seen
from include.storage import ArtifactStore, digest

log = logging.getLogger(__name__)

FOLDER = "reindex"
JOURNALS = "namespaces"
UPSERT = "upsert-{shard:04d}.parquet"
DELETE = "delete.parquet"
_SUFFIX = f"-format{FORMAT}"

Action = Literal["nothing", "difference", "full"]


class Plan(BaseModel):
    """One re-index, named by what it starts from and ends in."""

    plan_id: str
    snapshot_id: str
    previous_snapshot_id: str | None
    model_version: str
    namespace: str
    action: Action
    added: int
    changed: int
    reembedded: int
    removed: int
    unchanged: int
    shards: list[int]
    """Shards that have something to write."""

    @property
    def summary(self) -> str:
        """What is done, in a line."""
        return (
            f"{self.action} of {self.namespace}: {self.added:,} added, {self.changed:,} changed "
            f"({self.reembedded:,} to embed again), {self.removed:,} removed, {self.unchanged:,} unchanged"
        )


class Journal(BaseModel):
    """What a namespace may hold, and who writes to it."""

    states: list[str | None] = [None]
    """Snapshots whose records it may hold; None stands for anything, or nothing."""
    plan_id: str | None = None
    """The plan that may write to it."""
    index: str | None = None
    """The index that it is in."""


class OutdatedPlanError(PermanentError):
    """A later plan writes to the namespace now."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            f"{plan.namespace} has been planned again since the plan {plan.plan_id}: "
            "run reindex_episodes again from its planning task."
        )


class OvertakenPlanError(OutdatedPlanError, OvertakenError):
    """Another run has taken the namespace over: the plan is not needed any more."""


class UnverifiedPlanError(PermanentError):
    """The namespace was not verified to hold what the plan was to write."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            f"{plan.namespace} was not verified to hold the snapshot {plan.snapshot_id}, so it does not go live: "
            "clear verify_index, with the tasks after it."
        )


def namespace_of(model_version: str) -> str:
    """The namespace of a model: one each, so that vectors of two models never meet, nor records of two formats."""
    return f"{model_version}{_SUFFIX}"


def model_of(namespace: str) -> str:
    """The model whose namespace it is; one of an earlier format has the model's own name."""
    return namespace.removesuffix(_SUFFIX)


def plan_reindex(store: ArtifactStore, *, model_version: str, live: LivePointer | None) -> Plan:
    """Compare the latest snapshot with every state the model's namespace may be in.

    :raises FileNotFoundError: no snapshot was published.
    """
    latest = snapshot.latest(store)
    if latest is None:
        raise FileNotFoundError("No snapshot has been published yet: run ingest_episodes first.")
    namespace = namespace_of(model_version)
    states = _comparable(store, read_journal(store, namespace).states)
    steps = [difference(store, state, latest.snapshot_id) for state in states]
    added = _all([step.added for step in steps])
    changed = without(_all([step.changed for step in steps]), added)
    reembedded = without(_all([step.reembedded for step in steps]), added)
    removed = _all([step.removed for step in steps])
    is_live = live is not None and (live.namespace, live.snapshot_id) == (namespace, latest.snapshot_id)
    action: Action = "full" if None in states else "difference"
    if is_live and not len(added) and not len(changed) and not len(removed):
        action = "nothing"
    plan_id = _plan_id(latest.snapshot_id, namespace, action, states)
    plan = Plan(
        plan_id=plan_id,
        snapshot_id=latest.snapshot_id,
        previous_snapshot_id=next((state for state in states if state), None),
        model_version=model_version,
        namespace=namespace,
        action=action,
        added=len(added),
        changed=len(changed),
        reembedded=len(reembedded),
        removed=len(removed),
        unchanged=latest.episodes - len(added) - len(changed),
        shards=_write_upserts(store, plan_id, latest.snapshot_id, pl.concat([added, changed]).sort()),
    )
    _write_ids(store, removed, plan_id, DELETE)
    store.write_json(plan.model_dump(), FOLDER, plan.plan_id, "plan.json")
    return plan


def load_plan(store: ArtifactStore, plan_id: str) -> Plan:
    return Plan.model_validate(store.read_json(FOLDER, plan_id, "plan.json"))


def ids_to_upsert(store: ArtifactStore, plan: Plan, shard: int) -> pl.Series:
    """Ids of the episodes of a shard that a plan writes."""
    if shard not in plan.shards:
        return pl.Series(dtype=pl.String)
    return _read_ids(store, plan.plan_id, UPSERT.format(shard=shard))


def ids_to_delete(store: ArtifactStore, plan: Plan) -> pl.Series:
    """Ids that a plan deletes from its namespace, sorted: those that the states named in the journal may have left."""
    return _read_ids(store, plan.plan_id, DELETE)


def without(ids: pl.Series, others: pl.Series) -> pl.Series:
    """The ids that are not among others, in their order."""
    return ids.filter(~ids.is_in(others.implode()))


def read_journal(store: ArtifactStore, namespace: str) -> Journal:
    """The journal of a namespace; without one, or if it is damaged, it may hold anything."""
    path = (JOURNALS, f"{namespace}.json")
    try:
        kept = store.read_if_there(*path)
        return Journal() if kept is None else Journal.model_validate_json(kept)
    except ValueError as error:
        damage = " ".join(str(error).split())[:200]
        log.warning("%s is damaged (%s): the namespace may hold anything.", store.path(*path), damage)
        return Journal()


def begin_write(store: ArtifactStore, plan: Plan, index: str) -> None:
    """Note, before the first write, that the namespace may from now on hold records of the plan's snapshot.

    :param index: name of the index that is written to.
    :raises OutdatedPlanError: the namespace is not as it was when the plan was made: another has written to it.
    """
    journal = read_journal(store, plan.namespace)
    made_for = _plan_id(plan.snapshot_id, plan.namespace, plan.action, _comparable(store, journal.states))
    if plan.plan_id not in (journal.plan_id, made_for):
        raise _outdated(plan, journal)
    states = journal.states
    if plan.snapshot_id not in states:
        states = [*states, plan.snapshot_id]
    _write_journal(store, plan.namespace, Journal(states=states, plan_id=plan.plan_id, index=index))


def require_current(store: ArtifactStore, plan: Plan) -> Journal:
    """The namespace's journal, if the plan is still the one that writes to it.

    :raises OutdatedPlanError: another is.
    """
    journal = read_journal(store, plan.namespace)
    if journal.plan_id != plan.plan_id:
        raise _outdated(plan, journal)
    return journal


def require_not_overtaken(store: ArtifactStore, plan: Plan, *, seen: str) -> None:
    """Do nothing if the plan writes to its namespace, or may begin to.

    :param seen: what was live when the run of the plan began (:func:`include.index.live.live_entry`).
    :raises OvertakenPlanError: another run has planned the namespace since, and written to it.
    :raises OvertakenError: nobody writes to the namespace, which may have been retired since, and something else went
        live.
    """
    journal = read_journal(store, plan.namespace)
    if journal.plan_id is None:
        require_seen(read_live(store), seen, own=(plan.namespace, plan.snapshot_id))
        return
    made_for = _plan_id(plan.snapshot_id, plan.namespace, plan.action, _comparable(store, journal.states))
    if plan.plan_id not in (journal.plan_id, made_for):
        raise _outdated(plan, journal)


def finish_write(store: ArtifactStore, plan: Plan) -> None:
    """Note that the namespace was verified to hold the plan's snapshot and nothing else."""
    _settle(store, plan, plan.snapshot_id)


def distrust(store: ArtifactStore, plan: Plan) -> None:
    """Note that the namespace does not hold what it should, so that the next plan builds it in full."""
    _settle(store, plan, None)


def forget(store: ArtifactStore, namespace: str) -> None:
    """Drop the journal of a namespace that is dropped itself."""
    store.remove(JOURNALS, f"{namespace}.json")


def forget_lost(store: ArtifactStore, namespace: str, index: EpisodeIndex) -> bool:
    """Drop the journal of a namespace that is not in the index any more, so that the next plan builds it in full.

    Returns whether it is lost.
    """
    if read_journal(store, namespace).index == index.name and namespace in index.namespaces():
        return False
    forget(store, namespace)
    return True


def note_seconds(
    store: ArtifactStore, plan_id: str, step: str, index: int, seconds: float, *, vectors: int | None = None
) -> None:
    """Keep how long a step of a plan took, and for how many vectors, where it has to do with some."""
    entry = {"step": step, "seconds": seconds, "vectors": vectors}
    store.write_json(entry, FOLDER, plan_id, "seconds", f"{step}-{index:04d}.json")


def read_seconds(store: ArtifactStore, plan_id: str) -> dict[str, float]:
    """Seconds of work of each step of a plan, mapped tasks added up."""
    seconds: dict[str, float] = {}
    for entry in _noted(store, plan_id):
        seconds[entry["step"]] = seconds.get(entry["step"], 0.0) + float(entry["seconds"])
    return seconds


def read_vectors(store: ArtifactStore, plan_id: str) -> dict[str, int]:
    """Vectors that each step of a plan had to do with, mapped tasks added up."""
    vectors: dict[str, int] = {}
    for entry in _noted(store, plan_id):
        vectors[entry["step"]] = vectors.get(entry["step"], 0) + int(entry.get("vectors") or 0)
    return vectors


def _noted(store: ArtifactStore, plan_id: str) -> list[dict[str, Any]]:
    names = store.names(FOLDER, plan_id, "seconds")
    return [store.read_json(FOLDER, plan_id, "seconds", name) for name in names]


def _outdated(plan: Plan, journal: Journal) -> OutdatedPlanError:
    # Without a plan, the journal was begun anew, and nobody else may be about to do what the plan was to do.
    return OutdatedPlanError(plan) if journal.plan_id is None else OvertakenPlanError(plan)


def _comparable(store: ArtifactStore, states: list[str | None]) -> list[str | None]:
    """The snapshots that a namespace may hold, as far as they are still there to compare with."""
    return [state if state and snapshot.exists(store, state) else None for state in states]


def _plan_id(snapshot_id: str, namespace: str, action: Action, states: list[str | None]) -> str:
    return digest(snapshot_id, namespace, action, *(str(state) for state in states))


def _settle(store: ArtifactStore, plan: Plan, state: str | None) -> None:
    journal = require_current(store, plan)
    _write_journal(store, plan.namespace, journal.model_copy(update={"states": [state]}))


def _write_journal(store: ArtifactStore, namespace: str, journal: Journal) -> None:
    store.write_json(journal.model_dump(), JOURNALS, f"{namespace}.json")


def _all(parts: Sequence[pl.Series]) -> pl.Series:
    """The ids of all parts, each once, sorted, as those of a part are."""
    return parts[0] if len(parts) == 1 else pl.concat(parts).unique().sort()


def _write_upserts(store: ArtifactStore, plan_id: str, snapshot_id: str, ids: pl.Series) -> list[int]:
    """Keep the ids to write, which are sorted, a file for each shard that has some; those shards."""
    shards: list[int] = []
    if ids.is_empty():
        return shards
    for shard, table in snapshot.read_shards(store, snapshot_id, columns=["episode_id"]):
        own = pl.Series(table["episode_id"])
        places = ids.search_sorted(own).clip(0, len(ids) - 1)
        chosen = own.filter(ids.gather(places) == own)
        if len(chosen):
            _write_ids(store, chosen, plan_id, UPSERT.format(shard=shard))
            shards.append(shard)
    return shards


def _write_ids(store: ArtifactStore, ids: pl.Series, plan_id: str, name: str) -> None:
    store.write_table(ids.alias("episode_id").to_frame().to_arrow(), FOLDER, plan_id, name)


def _read_ids(store: ArtifactStore, plan_id: str, name: str) -> pl.Series:
    return pl.Series(store.read_table(FOLDER, plan_id, name)["episode_id"])
