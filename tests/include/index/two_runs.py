"""Two runs with two plans for one namespace at once, which Airflow's pool and limit of runs keep from happening.

A worker that was given up for dead may still come to, in the middle of what it did. Whatever the two do to each other,
nothing may call itself verified that is not, and one more run ends in exactly the latest snapshot.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from include.episodes import snapshot
from include.index.live import read_live
from include.index.plan import OutdatedPlanError, plan_reindex, read_journal
from include.index.write import VerificationError
from tests.include.episodes.catalogue import publish
from tests.include.index.crashes import SHARDS, THIRD, Home
from tests.include.index.workshop import MODEL, NAMESPACE, Fuse, assert_settled, content, expected, reindex


@dataclass
class Interlude(Fuse):
    """Lets something happen at one moment of a run, which knows nothing of it."""

    then: Callable[[], object] = field(kw_only=True)

    def moment(self) -> None:
        self.passed += 1
        if self.passed == self.left + 1:
            self.then()


def assert_nothing_false_is_said(home: Home) -> None:
    """What is live and verified, and needs nothing, is exactly the latest snapshot."""
    store, index = home.store(), home.index()
    if plan_reindex(store, model_version=MODEL, live=read_live(store)).action == "nothing":
        assert content(index) == expected(THIRD)


def assert_the_latest_in_the_end(home: Home) -> None:
    store = home.store()
    latest = snapshot.latest(store)
    assert latest is not None
    reindex(store, home.index())
    assert_settled(store, home.index(), THIRD, latest.snapshot_id)


def assert_a_run_that_was_overtaken_is_refused(home: Home) -> int:
    """At each moment of a run, let another publish, write, verify and go live; the moments at which it was refused.

    The worst of them is just before a batch: it has been let pass, and lands on what the other run has verified.
    """
    refused = moment = 0
    while True:
        home.set_back()

        def overtake() -> None:
            publish(home.store(), THIRD, shards=SHARDS)
            reindex(home.store(), home.index())

        interlude = Interlude(moment, then=overtake)
        try:
            home.run(interlude)
        except OutdatedPlanError:
            refused += 1
        except VerificationError:
            pass
        if interlude.passed <= moment:
            return refused
        assert_nothing_false_is_said(home)
        assert_the_latest_in_the_end(home)
        moment += 1


def assert_two_at_once_end_in_one_snapshot(home: Home, seed: int) -> list[BaseException]:
    """Start one run; in the midst of its writes publish, and start another; what they failed with.

    The first goes on when the second has begun to write, and then both do as it comes, each in a thread.
    """
    failures: list[BaseException] = []
    draw = random.Random(seed)
    writing = threading.Event()

    def writer() -> str | None:
        return read_journal(home.store(), NAMESPACE).plan_id

    class Dawdling(Fuse):
        """Waits a little before each write."""

        def moment(self) -> None:
            self.passed += 1
            time.sleep(draw.random() * 0.05)

    before = writer()

    class Overtaken(Dawdling):
        """Waits until another plan has come, so many writes after its own was noted."""

        def moment(self) -> None:
            super().moment()
            mine = writer()
            if mine != before and not writing.is_set():
                if self.left == 0:
                    writing.set()
                    deadline = time.monotonic() + 60
                    while writer() == mine:
                        assert time.monotonic() < deadline
                        time.sleep(0.002)
                self.left -= 1

    def run(fuse: Fuse) -> None:
        try:
            home.run_beside(fuse)
        except Exception as error:
            failures.append(error)

    old, new = (threading.Thread(target=run, args=[fuse]) for fuse in (Overtaken(seed % 2), Dawdling(0)))
    old.start()
    assert writing.wait(60)
    publish(home.store(), THIRD, shards=SHARDS)
    new.start()
    for thread in (old, new):
        thread.join(60)
        assert not thread.is_alive()
    assert_nothing_false_is_said(home)
    assert_the_latest_in_the_end(home)
    return failures
