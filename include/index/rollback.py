"""Going back to what was live before, and forward again: the live pointer is flipped, and nothing else is written.

The pointer then names as ``previous`` what was gone back from, and refuses its model until a person goes forward to it:
else the next re-index would find it newer than what is live, and make it live again. What is live again is as old as
its namespace; the next re-index writes what it lacks.

Where both are of one model, the namespace that was gone back to is of an earlier format, and the other is refused in
place of the model: else the next re-index, which knows the newer format alone, would make that live again. Nobody
writes to the older one; search stays as it is until a person goes forward, or another model goes live.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import BaseModel

from include.episodes import snapshot
from include.errors import PermanentError
from include.index.contract import EpisodeIndex
from include.index.live import LivePointer, change_live, read_live
from include.index.plan import namespace_of, read_journal
from include.retriever.registry import FOLDER as MODELS
from include.storage import ArtifactStore

OpenIndex = Callable[[LivePointer], EpisodeIndex]
"""Opens the index that a pointer names."""


class RollbackError(PermanentError):
    """One cannot go back, or not any more; the live pointer is as it was."""


class Rollback(BaseModel):
    """What would be live again, and in place of what."""

    current: LivePointer
    target: LivePointer
    rows: int
    """What the target's namespace holds."""

    @property
    def keeps_model(self) -> bool:
        """Whether both sides are of one model: then the records of one of them are of an earlier format."""
        return self.current.model_version == self.target.model_version

    @property
    def stays_behind(self) -> bool:
        """Whether no run will bring the target up to date: it is of an earlier format, and its successor was left."""
        return self.keeps_model and self.target.namespace != namespace_of(self.target.model_version)

    @property
    def left(self) -> str:
        """What does not go live again by itself: the model, or its namespace if the model stays."""
        return self.current.namespace if self.keeps_model else self.current.model_version


def plan_rollback(store: ArtifactStore, open_index: OpenIndex) -> Rollback:
    """What would be live after going back, once it was seen to be there still.

    :raises RollbackError: there is nothing to go back to, or it is not what it was.
    """
    live = read_live(store)
    if live is None:
        raise RollbackError("Nothing is live yet, and so there is nothing to go back to.")
    if live.previous is None:
        raise RollbackError(
            f"There is nothing to go back to: {live.model_version} is the first model to go live. "
            "To get an earlier snapshot back, ingest its episodes again."
        )
    target = live.previous.model_copy(update={"snapshot_id": _held_snapshot(store, live.previous)})
    rows = _check(store, open_index(target), target)
    return Rollback(current=live.before(), target=target, rows=rows)


def roll_back(store: ArtifactStore, rollback: Rollback, open_index: OpenIndex, *, by: str | None = None) -> LivePointer:
    """Go back, in one atomic step. Repeating it changes nothing.

    :param by: who approved it.

    :raises RollbackError: the pointer has moved since the rollback was planned, or the target is not what it was.
    """
    target = rollback.target

    def decide(live: LivePointer | None) -> LivePointer:
        if live and live.previous and live.namespace == target.namespace and _same(live.previous, rollback.current):
            return live  # an earlier try went as far as this
        if live is None or not _same(live, rollback.current) or live.previous is None:
            raise RollbackError(
                f"What is live has changed since you were asked: it was {_name(rollback.current)}, and is "
                f"{_name(live) if live else 'nothing'} now. Nothing was changed; trigger rollback_index again."
            )
        _check(store, open_index(target), target)
        refused = {*live.refused, rollback.left} - {target.model_version, target.namespace}
        return target.model_copy(
            update={
                "activated_at": datetime.now(UTC),
                "previous": live.before(),
                "refused": sorted(refused),
                "approved_by": by,
            }
        )

    return change_live(store, decide)


def question(rollback: Rollback) -> str:
    """What there is to know before one answers, as Markdown."""
    sides = (rollback.current, rollback.target)
    facts = {
        "model": [side.model_version for side in sides],
        "snapshot": [side.snapshot_id for side in sides],
        "went live": [f"{side.activated_at:%Y-%m-%d %H:%M} UTC" for side in sides],
        "index": [side.backend for side in sides],
    }
    measured = sorted({(name, metric) for side in sides for name, values in side.metrics.items() for metric in values})
    for name, metric in measured:
        values = [side.metrics.get(name, {}).get(metric) for side in sides]
        facts[f"{metric}, {name} queries"] = ["–" if value is None else f"{value:.3f}" for value in values]
    stays = (
        " Search then stays on that snapshot: the namespace has an earlier format, which this release does not write."
        if rollback.stays_behind
        else ""
    )
    return "\n".join(
        [
            "| | live now | would be live |",
            "|---|---|---|",
            *(f"| {name} | {' | '.join(values)} |" for name, values in facts.items()),
            "",
            f"The namespace of {rollback.target.model_version} was counted: its {rollback.rows:,} episodes are all "
            "there. Each model was measured when it went live, possibly on different queries.",
            "",
            f"**Approve**: search answers from it at once, and {rollback.left} does not go live again by itself; "
            f"trigger rollback_index again to return to it.{stays} **Reject**: nothing changes.",
        ]
    )


def _held_snapshot(store: ArtifactStore, pointer: LivePointer) -> str:
    """The snapshot that a namespace holds: a run that was going when it was left may have brought it a later one."""
    states = read_journal(store, pointer.namespace).states
    return states[0] if len(states) == 1 and states[0] else pointer.snapshot_id


def _check(store: ArtifactStore, index: EpisodeIndex, target: LivePointer) -> int:
    """How many records the target's namespace holds, if they are as many as its snapshot has episodes."""
    if not store.is_complete(MODELS, target.model_version):
        raise RollbackError(f"{_name(target)} cannot be restored: its model is no longer in the registry.")
    if target.namespace not in index.namespaces():
        raise RollbackError(
            f"{_name(target)} cannot be restored: the index {index.name} no longer has its namespace. "
            f"(It went live in {target.index}.)"
        )
    if not snapshot.exists(store, target.snapshot_id):
        raise RollbackError(f"{_name(target)} cannot be restored: its snapshot is gone, so it cannot be checked.")
    rows, episodes = index.count(target.namespace), snapshot.load(store, target.snapshot_id).episodes
    if rows != episodes:
        raise RollbackError(
            f"{_name(target)} cannot be restored: its namespace has {rows:,} records, but its snapshot has "
            f"{episodes:,} episodes. Something has written to it since."
        )
    return rows


def _same(one: LivePointer, other: LivePointer) -> bool:
    """Whether two pointers are of the same activation."""
    return (one.namespace, one.entry) == (other.namespace, other.entry)


def _name(pointer: LivePointer) -> str:
    return f"{pointer.model_version} on snapshot {pointer.snapshot_id}"
