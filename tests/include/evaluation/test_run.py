"""What an evaluation asks and searches."""

from __future__ import annotations

from pathlib import Path

from include.episodes import snapshot
from include.evaluation.run import EvaluationPlan, plan_evaluation, read_query_sets
from include.feedback.pairs import Pair, RecordedPairs
from include.retriever.training.pairing import write_pairs
from include.storage import ArtifactStore
from tests.include.retriever.training.workshop import generate_all, plan, publish_snapshot


def evaluation(store: ArtifactStore, training_id: str, curated: Path) -> EvaluationPlan:
    latest = snapshot.latest(store)
    assert latest
    return plan_evaluation(
        store,
        snapshot_id=latest.snapshot_id,
        training_id=training_id,
        curated_path=curated,
        catalogue_size=90,
        max_queries=1_000,
        seed=0,
        hybrid_weight=0.6,
    )


def test_plays_of_the_days_that_were_held_out_are_a_set_of_their_own(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    curated = tmp_path / "curated.csv"
    curated.write_text("query,episode_ids\nwho is lost,e004\n")
    publish_snapshot(store)
    apart = [
        Pair("Where is it", "e007", 1, "searched"),
        Pair("where is it", "e009", 3, "reformulated"),
        Pair("lost", "gone", 1, "searched"),
    ]
    planned = plan(store, recorded=RecordedPairs([], apart))
    generate_all(store, planned)
    write_pairs(store, planned, curated={})

    evaluated = evaluation(store, planned.training_id, curated)

    sets = {one.name: one for one in read_query_sets(store, evaluated.evaluation_id)}
    assert list(sets) == ["test", "known", "played", "curated"]
    assert sets["played"].queries == ["Where is it"]
    assert sets["played"].relevant == [["e009", "e007"]]
    assert sets["played"].positives is None


def test_an_episode_that_has_lost_its_description_is_searched_and_answers_no_test_query(tmp_path: Path) -> None:
    """It may answer what a person asks."""
    store = ArtifactStore(tmp_path / "artifacts")
    curated = tmp_path / "curated.csv"
    curated.write_text("query,episode_ids,grades\nwho is lost,e004|e002|e006|gone,1|2|0|1\n")
    publish_snapshot(store)
    planned = plan(store, train_share=0.1, eval_share=0.1)
    generate_all(store, planned)
    write_pairs(store, planned, curated={})
    publish_snapshot(store, source_version="v2", undescribed=range(0, 90, 2))

    evaluated = evaluation(store, planned.training_id, curated)

    test, _, asked = read_query_sets(store, evaluated.evaluation_id)
    assert test.judged is None
    assert len(test) > 20
    assert all(int(key[1:]) % 2 for ids in test.relevant for key in ids)
    assert asked.relevant == [["e002", "e004"]]
    assert asked.judged == [{"e004": 1, "e002": 2, "e006": 0}]
    assert evaluated.catalogue == 90
