from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pytest
from sentence_transformers import SentenceTransformer

from include.feedback.pairs import Pair, RecordedPairs
from include.queries.opening import create_generator
from include.retriever.encoders.torch_encoder import TorchEncoder
from include.retriever.training.pairing import (
    held_out,
    make_round_trip,
    read_pairs,
    read_summary,
    read_training_pairs,
    write_pairs,
)
from include.retriever.training.queries import generate_queries, read_queries
from include.storage import ArtifactStore
from tests.include.retriever.training.workshop import generate_all, plan, publish_snapshot


def test_a_larger_sample_holds_the_smaller_one(store: ArtifactStore) -> None:
    publish_snapshot(store)
    drawn = []
    for most in (20, 45, 90):
        planned = plan(store, max_episodes=most)
        generate_all(store, planned)
        write_pairs(store, planned, curated={})
        drawn.append(set(read_pairs(store, planned.training_id)["episode_id"].to_pylist()))
    assert drawn[0] < drawn[1] < drawn[2]
    assert len(drawn[0]) == pytest.approx(20, abs=12)
    assert len(drawn[2]) == 90


def test_pairs_are_split_by_episode_and_can_be_written_again(store: ArtifactStore) -> None:
    publish_snapshot(store)
    planned = plan(store)
    generate_all(store, planned)
    held_out = {f"e{number:03d}" for number in range(10)}
    summary = write_pairs(store, planned, curated={"anything": held_out})
    pairs = read_pairs(store, planned.training_id)
    splits: dict[str, set[str]] = {}
    for row in pairs.to_pylist():
        splits.setdefault(row["episode_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert all(splits[key] == {"test"} for key in held_out)
    assert summary.pairs == len(pairs) == sum(summary.by_split.values()) == sum(summary.by_origin.values())
    assert set(summary.by_split) == {"train", "eval", "test"}
    assert write_pairs(store, planned, curated={"anything": held_out}) == summary
    assert read_pairs(store, planned.training_id).equals(pairs)


def test_pairs_wait_for_every_shard(store: ArtifactStore) -> None:
    """Pairs of some shards only would train a model that looks like the planned one."""
    publish_snapshot(store)
    planned = plan(store)
    generate_queries(store, planned, 0, create_generator(planned.generator))
    with pytest.raises(FileNotFoundError):
        write_pairs(store, planned, curated={})


def test_the_summary_says_what_became_of_the_queries(store: ArtifactStore) -> None:
    publish_snapshot(store)
    planned = plan(store)
    written = generate_all(store, planned)
    summary = write_pairs(store, planned, curated={})
    assert (summary.episodes, summary.written) == (90, written)
    assert summary.pairs + sum(summary.dropped.values()) == written
    assert 1 <= len(summary.samples) <= 10
    assert read_summary(store, planned.training_id) == summary


def test_a_curated_query_never_trains_whoever_wrote_it(store: ArtifactStore, tmp_path: Path) -> None:
    publish_snapshot(store)
    logs = tmp_path / "logs.csv"
    logs.write_text("query,episode_id\nWhere is the LOST  thing,e001\nlost and found,e001\n")
    planned = plan(store, search_logs=logs)
    generate_all(store, planned)
    generated = next(own[0].text for _, own in read_queries(store, planned) if own)
    summary = write_pairs(store, planned, curated={"where is the lost thing": ["e050"], generated.upper(): ["e051"]})
    queries = {query.casefold() for query in read_pairs(store, planned.training_id)["query"].to_pylist()}
    assert queries.isdisjoint({"where is the lost thing", generated.casefold()})
    assert "lost and found" in queries
    assert summary.dropped["curated"] == 1
    assert summary.logs_unused == {"unknown_episode": 0, "without_description": 0, "curated": 1}


def test_episodes_without_description_are_in_no_pair(store: ArtifactStore, tmp_path: Path) -> None:
    """Neither by what a generator writes of their titles nor by what people searched."""
    publish_snapshot(store, undescribed=range(0, 90, 2))
    logs = tmp_path / "logs.csv"
    logs.write_text("query,episode_id\nlost and found,e001\nfound and lost,e002\nfound again,e002\n")
    planned = plan(store, search_logs=logs)
    generate_all(store, planned)
    summary = write_pairs(store, planned, curated={})
    found = set(read_pairs(store, planned.training_id)["episode_id"].to_pylist())
    assert "e001" in found
    assert all(int(key[1:]) % 2 for key in found)
    assert summary.episodes == 45
    assert summary.logs_unused == {"unknown_episode": 0, "without_description": 2, "curated": 0}


def test_what_people_searched_joins_the_pairs_though_their_episodes_were_not_sampled(
    store: ArtifactStore, tmp_path: Path
) -> None:
    publish_snapshot(store)
    logs = tmp_path / "logs.csv"
    rows = [f"looking for number {n},e{n:03d},{n + 1}.5,web" for n in range(90)]
    logs.write_text("\n".join(["query,episode_id,weight,source", *rows, "gone,e999,1,web"]) + "\n")
    planned = plan(store, search_logs=logs, max_episodes=20)
    generate_all(store, planned)
    summary = write_pairs(store, planned, curated={})
    logged = [row for row in read_pairs(store, planned.training_id).to_pylist() if row["origin"] == "log:web"]
    assert {row["episode_id"]: row["weight"] for row in logged} == {f"e{n:03d}": n + 1.5 for n in range(90)}
    assert summary.logs_unused["unknown_episode"] == 1
    assert summary.episodes < 45


def test_recorded_plays_join_the_pairs_by_their_source_beside_the_logs_of_a_file(
    store: ArtifactStore, tmp_path: Path
) -> None:
    publish_snapshot(store)
    logs = tmp_path / "logs.csv"
    logs.write_text("query,episode_id,weight,source\nlost and found,e001,2,web\nfound again,e003,1,web\n")
    training = [
        Pair("Found again", "e003", 3, "searched"),
        Pair("where is it", "e003", 1, "reformulated"),
        Pair("gone", "e999", 1, "searched"),
    ]
    planned = plan(store, search_logs=logs, recorded=RecordedPairs(training, []))
    generate_all(store, planned)
    summary = write_pairs(store, planned, curated={})
    logged = [row for row in read_pairs(store, planned.training_id).to_pylist() if row["origin"].startswith("log")]
    assert {(row["query"], row["origin"], row["weight"]) for row in logged} == {
        ("lost and found", "log:web", 2.0),
        ("found again", "log", 4.0),
        ("where is it", "log:reformulated", 1.0),
    }
    assert summary.by_origin["log:reformulated"] == 1
    assert summary.logs_unused["unknown_episode"] == 1


def test_what_was_asked_on_days_that_are_held_out_never_trains_whoever_wrote_it(
    store: ArtifactStore, tmp_path: Path
) -> None:
    publish_snapshot(store)
    generated = plan(store)
    generate_all(store, generated)
    title = next(own[0].text for _, own in read_queries(store, generated) if own)
    logs = tmp_path / "logs.csv"
    logs.write_text("query,episode_id\nlost and found,e001\n")
    apart = [Pair("Lost and Found", "e002", 1, "searched"), Pair(title.upper(), "e003", 1, "searched")]
    planned = plan(store, search_logs=logs, recorded=RecordedPairs([], apart))
    generate_all(store, planned)
    write_pairs(store, planned, curated={})
    pairs = read_pairs(store, planned.training_id)
    assert {query.casefold() for query in pairs["query"].to_pylist()}.isdisjoint({"lost and found", title.casefold()})
    assert {"e002", "e003"} <= set(pairs["episode_id"].to_pylist())
    assert sorted(held_out(store, planned.training_id)) == ["e002", "e003"]


def test_the_round_trip_leaves_out_what_the_base_model_does_not_find(
    store: ArtifactStore, model: SentenceTransformer
) -> None:
    """Of the training queries only; every other pair stays, and what is measured on does not change."""
    encoder = TorchEncoder(model)
    publish_snapshot(store)
    planned = plan(store, round_trip=1)
    generate_all(store, planned)
    write_pairs(store, planned, curated={})
    with pytest.raises(FileNotFoundError):
        read_training_pairs(store, planned)
    counts = make_round_trip(store, planned, encoder, model_version="tiny", catalogue_size=90)
    before, after = read_pairs(store, planned.training_id), read_training_pairs(store, planned)
    train = pc.field("split") == "train"
    assert counts["asked"] == len(before.filter(train))
    assert 0 < counts["dropped"] == len(before) - len(after) < counts["asked"]
    assert after.filter(~train).equals(before.filter(~train))
    assert read_summary(store, planned.training_id).round_trip == counts
    again = make_round_trip(store, planned, encoder, model_version="tiny", catalogue_size=90)
    assert again == counts
    assert read_training_pairs(store, planned).equals(after)


def test_without_a_round_trip_every_pair_trains(store: ArtifactStore) -> None:
    publish_snapshot(store)
    planned = plan(store)
    generate_all(store, planned)
    write_pairs(store, planned, curated={})
    assert read_training_pairs(store, planned).equals(read_pairs(store, planned.training_id))
