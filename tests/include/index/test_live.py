from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from include.index.live import (
    FILE,
    LivePointer,
    NothingLiveError,
    RefusedModelError,
    activate,
    read_live,
    require_live,
)
from include.storage import ArtifactStore
from tests.include.index.workshop import write_live

PROJECT = Path(__file__).resolve().parents[3]


def flip(store: ArtifactStore, namespace: str, snapshot_id: str, **changes: Any) -> LivePointer:
    values: dict[str, Any] = {"backend": "lancedb", "index": "here", "metrics": {}, "report": None} | changes
    return activate(store, namespace=namespace, model_version=namespace, snapshot_id=snapshot_id, **values)


def test_before_the_first_activation_nothing_is_live(store: ArtifactStore) -> None:
    assert read_live(store) is None
    with pytest.raises(NothingLiveError, match="run the pipeline first"):
        require_live(store)


def test_what_was_activated_is_read(store: ArtifactStore) -> None:
    pointer = flip(store, "m1", "s1", metrics={"test": {"recall@30": 0.9}}, report="reports/r1")
    assert read_live(store) == pointer
    assert (pointer.previous, pointer.activated_at.tzinfo is not None) == (None, True)


def test_the_model_before_is_kept_and_no_more(store: ArtifactStore) -> None:
    first = flip(store, "m1", "s1")
    second = flip(store, "m2", "s1")
    assert second.previous == first
    third = flip(store, "m3", "s2")
    assert third.previous is not None
    assert (third.previous.namespace, third.previous.previous) == ("m2", None)


def test_a_new_snapshot_keeps_the_model_before(store: ArtifactStore) -> None:
    """The namespace does not hold the snapshot before any more; one can only go back to the other namespace."""
    first = flip(store, "m1", "s1")
    flip(store, "m2", "s1")
    daily = flip(store, "m2", "s2")
    assert daily.previous == first
    assert flip(store, "m2", "s3").previous == first


def test_going_back_and_forth(store: ArtifactStore) -> None:
    flip(store, "m1", "s1")
    flip(store, "m2", "s1")
    back = flip(store, "m1", "s1")
    assert back.previous is not None
    assert back.previous.namespace == "m2"


def test_activating_again_changes_nothing_but_metrics_and_report(store: ArtifactStore) -> None:
    flip(store, "m1", "s1")
    once = flip(store, "m2", "s2")
    again = flip(store, "m2", "s2", metrics={"test": {"mrr": 0.5}}, report="r2")
    assert (again.activated_at, again.previous) == (once.activated_at, once.previous)
    assert (again.metrics, again.report) == ({"test": {"mrr": 0.5}}, "r2")


def test_who_approved_it_belongs_to_one_activation(store: ArtifactStore) -> None:
    flip(store, "m1", "s1", approved_by="mia")
    assert flip(store, "m1", "s1", report="r2").approved_by == "mia", "a report that is written anew forgets nobody"
    nightly = flip(store, "m1", "s2")
    assert nightly.approved_by is None
    assert flip(store, "m2", "s2", approved_by="ben").approved_by == "ben"


def test_a_model_that_a_person_went_back_from_does_not_go_live_by_itself(store: ArtifactStore) -> None:
    """A run that was indexing with it all the while would undo the rollback."""
    pointer = flip(store, "m1", "s1").model_copy(update={"refused": ["m2"]})
    write_live(store, pointer)
    with pytest.raises(RefusedModelError, match="rolled back from m2 to m1"):
        flip(store, "m2", "s2")
    assert read_live(store) == pointer
    assert flip(store, "m1", "s2").refused == ["m2"], "the daily difference does not forget it"
    later = flip(store, "m3", "s2")
    assert later.refused == ["m2"]
    assert later.previous is not None
    assert later.previous.refused == []


def test_a_pointer_that_was_written_before_models_could_be_refused_is_read(store: ArtifactStore) -> None:
    flip(store, "m1", "s1")
    old = store.read_json(FILE)
    del old["refused"]
    store.write_json(old, FILE)
    assert require_live(store).refused == []


def test_a_reader_never_fails_while_the_pointer_is_replaced(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    flip(store, "m0", "s")
    code = (
        "import sys\n"
        "from include.index.live import require_live\n"
        "from include.storage import ArtifactStore\n"
        "store, seen = ArtifactStore(sys.argv[1]), set()\n"
        "print('ready', flush=True)\n"
        "while len(seen) < 30:\n"
        "    pointer = require_live(store)\n"
        "    assert pointer.namespace == pointer.model_version\n"
        "    seen.add(pointer.namespace)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        for number in range(5_000):
            flip(store, f"m{number}", "s", report="x" * (number % 7_000))
            if reader.poll() is not None:
                break
    assert reader.returncode == 0
