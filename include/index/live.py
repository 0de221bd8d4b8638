"""The live pointer: one small file that says what search answers from. Nothing else does."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import BaseModel

from include.errors import OvertakenError, PermanentError
from include.storage import ArtifactStore, digest

log = logging.getLogger(__name__)

FILE = "live.json"
HISTORY = "live"
NOTHING = "nothing"


class LivePointer(BaseModel):
    """What is live, and what was before it.

    ``previous`` is in another namespace and so can be restored: a namespace holds only one snapshot.
    """

    backend: str
    index: str
    namespace: str
    model_version: str
    snapshot_id: str
    metrics: dict[str, dict[str, float]] = {}
    report: str | None = None
    activated_at: datetime
    previous: LivePointer | None = None
    approved_by: str | None = None
    """Who rolled back to it, or let it go live when its run asked or against the gate; None if nobody did."""
    refused: list[str] = []
    """Models that a person rolled back from, and namespaces if the model stayed the same: only a person can make them
    live again."""

    @property
    def entry(self) -> str:
        """Names this activation; its metrics and its report may be written anew."""
        return f"{self.model_version} on snapshot {self.snapshot_id}, live since {self.activated_at.isoformat()}"

    def before(self) -> LivePointer:
        """This pointer as the ``previous`` of the one that follows it."""
        return self.model_copy(update={"previous": None, "refused": []})


class NothingLiveError(RuntimeError):
    """There is no live index yet."""

    def __init__(self) -> None:
        super().__init__("There is no live index yet: run the pipeline first (make run).")


class RefusedModelError(OvertakenError):
    """A person has rolled back from the model, or from its namespace."""


def read_live(store: ArtifactStore) -> LivePointer | None:
    """The pointer, or None before the first activation.

    :raises PermanentError: the file is damaged.
    """
    data = store.read_if_there(FILE)
    return None if data is None else _parsed(store, data)


def _parsed(store: ArtifactStore, data: bytes) -> LivePointer:
    try:
        return LivePointer.model_validate_json(data)
    except ValueError as error:
        raise PermanentError(
            f"{store.path(FILE)} is damaged ({' '.join(str(error).split())[:200]}), so what is live is unknown. "
            "Restore it from a backup, or remove it and trigger reindex_episodes, which goes live again."
        ) from error


def require_live(store: ArtifactStore) -> LivePointer:
    """The pointer.

    :raises NothingLiveError: nothing is live.
    """
    pointer = read_live(store)
    if pointer is None:
        raise NothingLiveError
    return pointer


def live_entry(live: LivePointer | None) -> str:
    """Identifies what is live, so that a later change can be detected."""
    return live.entry if live else NOTHING


def require_seen(live: LivePointer | None, seen: str, *, own: tuple[str, str] | None = None) -> None:
    """Do nothing if what is live has not changed since a run started.

    :param seen: what :func:`live_entry` was then.
    :param own: namespace and snapshot that the run itself makes live, if it is past choosing them: they may be.
    :raises OvertakenError: something else is live.
    """
    if own and live and (live.namespace, live.snapshot_id) == own:
        return
    if (now := live_entry(live)) != seen:
        raise OvertakenError(f"When its run started, {seen} was live; now {now} is. Search continues with that.")


def require_not_refused(live: LivePointer | None, model_version: str, namespace: str) -> None:
    """Do nothing if a run may make a model live, in that namespace.

    :raises RefusedModelError: a person has rolled back from it.
    """
    if live and model_version in live.refused:
        raise RefusedModelError(
            f"A person rolled back from {model_version} to {live.model_version}, which stays live. Run "
            f"reindex_episodes again to bring {live.model_version} up to date, or rollback_index to return to "
            f"{model_version}."
        )
    if live and namespace in live.refused:
        raise RefusedModelError(
            f"A person rolled back from {namespace} to {live.namespace}, of the same model. It stays live as it is, "
            "because this release does not write to namespaces of an earlier format: run rollback_index to undo the "
            "rollback."
        )


def activate(
    store: ArtifactStore,
    *,
    backend: str,
    index: str,
    namespace: str,
    model_version: str,
    snapshot_id: str,
    metrics: dict[str, dict[str, float]],
    report: str | None,
    seen: str | None = None,
    approved_by: str | None = None,
) -> LivePointer:
    """Switch search to another namespace or snapshot, in one atomic step.

    Activating what is live already changes nothing but its metrics and report, and keeps who approved it. A new
    snapshot in the live namespace keeps ``previous``: what the namespace held before is gone.

    :param seen: what :func:`live_entry` was when the run began, if it is a run that activates.
    :raises OvertakenError: something else went live since, which is not this snapshot in this namespace.
    :raises RefusedModelError: a person went back from it, possibly while a run that indexes with it was in progress.
    """

    def decide(live: LivePointer | None) -> LivePointer:
        require_not_refused(live, model_version, namespace)
        if seen is not None:
            require_seen(live, seen, own=(namespace, snapshot_id))
        activated_at, previous, by = datetime.now(UTC), None, approved_by
        if live and live.namespace == namespace:
            previous = live.previous
            if live.snapshot_id == snapshot_id:
                activated_at, by = live.activated_at, approved_by or live.approved_by
        elif live:
            previous = live.before()
        return LivePointer(
            backend=backend,
            index=index,
            namespace=namespace,
            model_version=model_version,
            snapshot_id=snapshot_id,
            metrics=metrics,
            report=report,
            activated_at=activated_at,
            previous=previous,
            approved_by=by,
            refused=live.refused if live else [],
        )

    return change_live(store, decide)


def change_live(store: ArtifactStore, decide: Callable[[LivePointer | None], LivePointer]) -> LivePointer:
    """Switch search to something derived from what is live, without losing concurrent changes.

    :param decide: computes the new pointer from the live one, or returns that to leave it. It is called again if the
        pointer changes meanwhile, and may raise to leave it as it is.
    """
    decided: list[LivePointer] = []

    def change(before: bytes | None) -> bytes | None:
        live = None if before is None else _parsed(store, before)
        decided.append(decide(live))
        return None if decided[-1] == live else _written(decided[-1])

    store.update(change, FILE)
    _note(store, decided[-1])
    return decided[-1]


def history(store: ArtifactStore, *, most: int) -> list[LivePointer]:
    """What went live recently, newest first, for people to read; unreadable entries are left out."""
    found = []
    for name in sorted(store.names(HISTORY), reverse=True)[:most]:
        try:
            found.append(LivePointer.model_validate(store.read_json(HISTORY, name)))
        except ValueError as error:
            log.warning("%s/%s is damaged and left out: %s", HISTORY, name, " ".join(str(error).split())[:200])
    return found


def _note(store: ArtifactStore, pointer: LivePointer) -> None:
    """Record what went live; if it is recorded again with other metrics or another report, replace the entry."""
    moment = pointer.activated_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")
    store.write_bytes(_written(pointer), HISTORY, f"{moment}-{digest(pointer.entry)}.json")


def _written(pointer: LivePointer) -> bytes:
    return json.dumps(pointer.model_dump(mode="json"), indent=2, ensure_ascii=False).encode()
