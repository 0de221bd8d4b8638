"""The book of open faults: one small JSON file each in the artifact store, under ``alerts/faults``.

A file is written atomically. On a local disk a lock file beside it keeps two processes from telling of the same fault
at once. An object store has no such locks: there the last write wins, and the price of two tasks failing in the same
moment is a second message or a run that is not counted.
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
"""Longer than a message takes to all channels, so that who waits finds it sent."""


class Fault(BaseModel):
    """A fault that is not over, or whose end is not told everywhere yet.

    :param alert: what was met last.
    :param runs: in how many runs, since ``first_at``.
    :param told: when each channel last had word of it.
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
        """The fault after it was met once more; a second time in the same run is the same time."""
        if alert.cause != self.alert.cause:
            return Fault(alert=alert, first_at=alert.occurred_at)
        runs = self.runs + (alert.run_id != self.alert.run_id)
        if alert.run_after and self.alert.run_after:
            # A task that is cleared in an older run and fails again leaves it to the newer run to show that it is over.
            alert = alert.model_copy(update={"run_after": max(alert.run_after, self.alert.run_after)})
        return self.model_copy(update={"alert": alert, "runs": runs, "over_at": None})

    def may_be_ended_by(self, run_after: datetime | None) -> bool:
        """Whether a run that does well shows that the fault is over: not one that is older than where it was met.

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
        """Hold a fault against other processes of this machine; gives whether it is held.

        :param wait: for the one who holds it, up to ``lock_seconds``.
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
        """A fault, or None if it is not in the book. An entry that cannot be understood counts as none."""
        name = f"{fault_id}.json"
        if not self._store.exists(*FOLDER, name):
            return None
        try:
            return Fault.model_validate(self._store.read_json(*FOLDER, name))
        except (ValidationError, ValueError):
            log.warning("The entry %s of the book of faults cannot be read, and is begun anew.", name)
        except FileNotFoundError:
            pass  # over since it was looked for
        return None

    def write(self, fault: Fault) -> None:
        self._store.write_json(fault.model_dump(mode="json"), *FOLDER, f"{fault.fault_id}.json")

    def remove(self, fault_id: str) -> None:
        self._store.remove(*FOLDER, f"{fault_id}.json")

    def all(self) -> list[Fault]:
        """Every fault in the book, those first that have lasted longest."""
        names = [name for name in self._store.names(*FOLDER) if name.endswith(".json")]
        faults = [fault for name in names if (fault := self.read(name.removesuffix(".json")))]
        return sorted(faults, key=lambda fault: fault.first_at)
