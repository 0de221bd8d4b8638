"""Which model is a candidate."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.evaluation.comparison import find_candidate
from include.evaluation.gate import RULE, Decision, overrule
from include.index.live import LivePointer, activate
from include.retriever.manifest import ModelManifest
from include.retriever.registry import register
from include.storage import ArtifactStore
from tests.include.index.workshop import write_live


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


def trained(store: ArtifactStore, tmp_path: Path, version: str, day: int) -> None:
    folder = tmp_path / version
    folder.mkdir()
    register(
        store,
        folder,
        ModelManifest(
            version=version,
            kind="fine-tuned",
            base_model="base",
            dimension=2,
            max_seq_length=8,
            registered_at=datetime(2026, 1, day, tzinfo=UTC),
        ),
    )


def live_with(store: ArtifactStore, model: str) -> LivePointer:
    return activate(
        store,
        backend="lancedb",
        index="index",
        namespace=model,
        model_version=model,
        snapshot_id="snapshot",
        metrics={},
        report=None,
    )


def test_the_newest_trained_model_is_the_candidate_until_it_is_live(store: ArtifactStore, tmp_path: Path) -> None:
    assert find_candidate(store, base="base", live=None, tolerance=0.05) is None
    trained(store, tmp_path, "older", 1)
    trained(store, tmp_path, "newer", 2)
    assert find_candidate(store, base="base", live=None, tolerance=0.05) == "newer"
    assert find_candidate(store, base="base", live=live_with(store, "older"), tolerance=0.05) == "newer"
    assert find_candidate(store, base="base", live=live_with(store, "newer"), tolerance=0.05) is None


def test_a_model_that_a_person_went_back_from_is_no_candidate_and_a_newer_one_is(
    store: ArtifactStore, tmp_path: Path
) -> None:
    """Newer than what is live again, and good enough for the gate, it would go live by the next run."""
    trained(store, tmp_path, "older", 1)
    trained(store, tmp_path, "newer", 2)
    live = live_with(store, "older").model_copy(update={"refused": ["newer"]})
    write_live(store, live)
    assert find_candidate(store, base="base", live=live, tolerance=0.05) is None
    trained(store, tmp_path, "newest", 3)
    assert find_candidate(store, base="base", live=live, tolerance=0.05) == "newest"


def test_a_refused_model_is_tried_again_only_against_another_model_or_a_larger_tolerance(
    store: ArtifactStore, tmp_path: Path
) -> None:
    trained(store, tmp_path, "weak", 1)
    refused = Decision(passed=False, tolerance=0.05, reference="live", reasons=["it lost"], rule=RULE)
    store.write_json(refused.model_dump(), "decisions", "weak--live.json")
    live = live_with(store, "live")
    assert find_candidate(store, base="base", live=live, tolerance=0.05) is None
    assert find_candidate(store, base="base", live=live, tolerance=0.01) is None
    assert find_candidate(store, base="base", live=live, tolerance=0.10) == "weak"
    assert find_candidate(store, base="base", live=live_with(store, "another"), tolerance=0.05) == "weak"


def test_a_refusal_by_an_earlier_rule_binds_nobody_unless_a_person_gave_it(
    store: ArtifactStore, tmp_path: Path
) -> None:
    trained(store, tmp_path, "good", 1)
    live = live_with(store, "live")
    before = Decision(passed=False, tolerance=0.05, reference="live", reasons=["its interval was wide"])
    store.write_json(before.model_dump(exclude={"rule"}), "decisions", "good--live.json")
    assert find_candidate(store, base="base", live=live, tolerance=0.05) == "good"
    by_hand = overrule(before, "refuse", reason="no", by="Ada")
    store.write_json(by_hand.model_dump(exclude={"rule"}), "decisions", "good--live.json")
    assert find_candidate(store, base="base", live=live, tolerance=0.05) is None


def test_a_person_may_ask_for_a_model_that_was_refused_or_left(store: ArtifactStore, tmp_path: Path) -> None:
    trained(store, tmp_path, "left", 1)
    live = live_with(store, "live").model_copy(update={"refused": ["left"]})
    refused = Decision(passed=False, tolerance=0.05, reference="live", reasons=["it lost"], rule=RULE)
    store.write_json(refused.model_dump(), "decisions", "left--live.json")
    assert find_candidate(store, base="base", live=live, tolerance=0.05) is None
    assert find_candidate(store, base="base", live=live, tolerance=0.05, refused_too=True) == "left"
    assert find_candidate(store, base="base", live=live_with(store, "left"), tolerance=0.05, refused_too=True) is None


def test_another_precision_makes_the_live_model_a_candidate_again(store: ArtifactStore, tmp_path: Path) -> None:
    trained(store, tmp_path, "tuned", 1)
    live = live_with(store, "tuned")
    assert find_candidate(store, base="base", live=live, tolerance=0.05, precision="int8") == "tuned-int8"
    live = live_with(store, "tuned-int8")
    assert find_candidate(store, base="base", live=live, tolerance=0.05, precision="int8") is None
    assert find_candidate(store, base="base", live=live, tolerance=0.05) == "tuned", "and there is a way back"
