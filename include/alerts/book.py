"""The book of open faults: one small JSON file each in the artifact store, under ``alerts/faults``.

A file is written atomically. On a local disk a lock file beside it keeps two processes from announcing the same fault
at once. An object store has no such locks: there the last write wins, and if two tasks fail at the same moment, the
cost is a second message or a run that is not counted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from include.alerts.alert import Alert
from include.storage import ArtifactStore

log = logging.getLogger(__name__)

FOLDER = ("alerts", "faults")
LOCK_SECONDS = 60.0
"""Longer than it takes to send a message to all channels, so that whoever waits finds it sent."""


class Fault(BaseModel):
    """A fault that is not over, or whose end has not been announced everywhere yet.

    :param alert: as last met.
    :param runs: how many runs have met it since ``first_at``.
    :param told: when each channel was last told of it.
    :param over_at: when it ended.
    """

    alert: Alert
    first_at: datetime
    runs: int = 1
    told: dict[str, datetime] = {}
    over_at: datetime | None = None

    @property
    def fault_id(self) -> str:
        return self.alert.fault_id

    def met_again(self, alert: Alert) -> Fault:
        """The fault after it was met again; twice in the same run counts once."""
        if alert.cause != self.alert.cause:
            return Fault(alert=alert, first_at=alert.occurred_at)
        runs = self.runs + (alert.run_id != self.alert.run_id)
        if alert.run_after and self.alert.run_after:
            # If a task is cleared in an older run and fails again, it is for the newer run to show that it is over.
            alert = alert.model_copy(update={"run_after": max(alert.run_after, self.alert.run_after)})
        return self.model_copy(update={"alert": alert, "runs": runs, "over_at": None})

    def may_be_ended_by(self, run_after: datetime | None) -> bool:
        """Whether a run's success shows that the fault is over; a run older than the one that met it does not.

        :param run_after: Airflow's time of the run.
        """
        met = self.alert.run_after
        return met is None or run_after is None or met <= run_after


class FaultBook:
    """The faults of one installation."""

    def __init__(self, store: ArtifactStore, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self._store = store
        self._lock_seconds = lock_seconds

    @contextmanager
    def locked(self, fault_id: str, *, wait: bool = True) -> Iterator[bool]:
        """Lock a fault against other processes on this machine; yields whether it is locked.

        :param wait: for another holder, up to ``lock_seconds``.
        """
        root = self._store.local_root
        if root is None:
            yield True
            return
        folder = root.joinpath(*FOLDER)
        # Writable for all: components may run as different users.
        lock = FileLock(folder / f".{fault_id}.lock", timeout=self._lock_seconds if wait else 0, mode=0o666)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            yield False
            return
        except OSError as error:  # a full disk, say: a message too many is better than none
            log.warning("A fault cannot be locked: %s", error)
        try:
            yield True
        finally:
            lock.release()

    def read(self, fault_id: str) -> Fault | None:
        """A fault, or None if it is not in the book. An entry that cannot be read counts as missing."""
        name = f"{fault_id}.json"
        try:
            found = self._store.read_json_if_there(*FOLDER, name)
            return None if found is None else Fault.model_validate(found)
        except (ValidationError, ValueError):
            log.warning("The entry %s in the book of faults cannot be read and is started afresh.", name)
            return None

    def write(self, fault: Fault) -> None:
        self._store.write_json(fault.model_dump(mode="json"), *FOLDER, f"{fault.fault_id}.json")

    def remove(self, fault_id: str) -> None:
        self._store.remove(*FOLDER, f"{fault_id}.json")

    def all(self) -> list[Fault]:
        """Every fault in the book, the oldest first."""
        names = [name for name in self._store.names(*FOLDER) if name.endswith(".json")]
        faults = [fault for name in names if (fault := self.read(name.removesuffix(".json")))]
        return sorted(faults, key=lambda fault: fault.first_at)
