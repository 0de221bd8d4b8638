from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from include.index.lancedb import LanceIndex
from include.index.plan import namespace_of
from include.index.retire import retire
from include.index.retire_models import retire_models
from include.retriever.encode import FOLDER as EMBEDDINGS
from include.retriever.encode import EmbeddingCache
from include.retriever.manifest import ModelManifest
from include.retriever.registry import load_manifest, model_folder, registered
from include.storage import MANIFEST, ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import DIMENSION, Fuse, Killed, MortalStore, register, reindex

ROWS = [episode(number) for number in range(6)]


@pytest.fixture
def index(tmp_path: Path) -> LanceIndex:
    return LanceIndex(str(tmp_path / "index"))


def add(store: ArtifactStore, version: str, *, age: int, kind: str = "fine-tuned") -> None:
    """A version with a training, weights on both sides, and vectors."""
    register(store, version, age=age)
    manifest = load_manifest(store, version).model_copy(update={"kind": kind, "training_id": f"t-{version}"})
    for folder in (model_folder(version), ("training", f"t-{version}", "model")):
        store.write_bytes(b"weights", *folder, "model.safetensors")
        store.write_json(manifest.model_dump(mode="json"), *folder, MANIFEST)
    store.write_bytes(b"pairs", "training", f"t-{version}", "pairs.parquet")
    EmbeddingCache(store, version, "shard-0000").add(["h"], np.ones((1, DIMENSION), np.float32))


@pytest.fixture
def seven(store: ArtifactStore, index: LanceIndex) -> LanceIndex:
    """A base model; m1 to m5, of which m3, m4 and m5 went live one after the other; and m6, which did not yet."""
    publish(store, ROWS)
    add(store, "base", age=9, kind="base")
    for age, version in enumerate(["m6", "m5", "m4", "m3", "m2", "m1"]):
        add(store, version, age=age)
    for version in ("m3", "m4", "m5"):
        reindex(store, index, version)
    return index


def versions(store: ArtifactStore) -> list[str]:
    return sorted(manifest.version for manifest in registered(store))


def test_before_anything_is_live_nothing_is_removed(store: ArtifactStore, index: LanceIndex) -> None:
    for age, version in enumerate(["m2", "m1"]):
        add(store, version, age=age)
    assert retire_models(store, index, keep=0) == []
    assert versions(store) == ["m1", "m2"]


@pytest.mark.parametrize(
    ("keep", "removed"),
    [(9, []), (6, []), (5, ["m1"]), (4, ["m2", "m1"]), (1, ["m2", "m1"]), (0, ["m2", "m1"])],
)
def test_old_versions_go_and_take_their_vectors_along(
    store: ArtifactStore, seven: LanceIndex, keep: int, removed: list[str]
) -> None:
    """m3 has a namespace still, m4 is what can be gone back to, m5 is live, m6 is newer; a base model always stays."""
    assert retire_models(store, seven, keep=keep) == removed
    kept = sorted({"base", "m1", "m2", "m3", "m4", "m5", "m6"} - set(removed))
    assert versions(store) == kept
    assert [name for name in store.names("models") if name != "retiring.json"] == kept
    assert store.names(EMBEDDINGS) == kept
    for version in removed:
        assert store.names("training", f"t-{version}") == ["pairs.parquet"], "what says what it was trained on stays"
    assert retire_models(store, seven, keep=keep) == []


def test_a_version_goes_once_its_namespace_is_dropped(store: ArtifactStore, seven: LanceIndex) -> None:
    assert retire(store, seven, keep=2) == [namespace_of("m3")]
    assert retire_models(store, seven, keep=0) == ["m3", "m2", "m1"]
    assert versions(store) == ["base", "m4", "m5", "m6"]


def test_a_live_base_model_is_older_than_all_that_wait_for_the_gate(store: ArtifactStore, index: LanceIndex) -> None:
    publish(store, ROWS)
    add(store, "base", age=9, kind="base")
    add(store, "m1", age=3)
    reindex(store, index, "base")
    assert retire_models(store, index, keep=0) == []


def test_a_removal_that_was_killed_anywhere_is_finished_by_the_next(store: ArtifactStore, seven: LanceIndex) -> None:
    """Also in the middle of a folder, whose manifest is gone while its weights are not."""
    moments = 0
    for moment in range(100):
        fuse = Fuse(moment)
        try:
            retire_models(MortalStore(str(store.path()), fuse), seven, keep=0)
        except Killed:
            moments += 1
            continue
        break
    assert moments >= 5
    assert versions(store) == ["base", "m3", "m4", "m5", "m6"]
    assert store.names(EMBEDDINGS) == store.names("models") == versions(store)


def test_what_is_left_of_a_folder_without_its_manifest_is_removed(store: ArtifactStore, seven: LanceIndex) -> None:
    store.write_json({"m1": "t-m1"}, "models", "retiring.json")
    store.remove(*model_folder("m1"), MANIFEST)
    assert retire_models(store, seven, keep=5) == ["m1"]
    assert "m1" not in store.names("models")
    assert "retiring.json" not in store.names("models")


def test_a_version_that_is_whole_is_judged_by_the_rule_whatever_was_begun(
    store: ArtifactStore, seven: LanceIndex
) -> None:
    """It may have been trained again since."""
    store.write_json({"m1": "t-m1"}, "models", "retiring.json")
    assert retire_models(store, seven, keep=9) == []
    assert isinstance(load_manifest(store, "m1"), ModelManifest)


def test_a_registration_that_is_being_made_is_left_alone(store: ArtifactStore, seven: LanceIndex) -> None:
    store.write_bytes(b"weights", *model_folder("m7"), "model.safetensors")
    retire_models(store, seven, keep=0)
    assert store.exists(*model_folder("m7"), "model.safetensors")
