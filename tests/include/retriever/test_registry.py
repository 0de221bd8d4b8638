from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from include.retriever import registry
from include.retriever.manifest import ModelManifest
from include.retriever.registry import (
    FOLDER,
    ModelError,
    ensure_base,
    load_base,
    load_cross_encoder,
    load_folder,
    load_manifest,
    local_folder,
    newest_trained,
    register,
    registered,
)
from include.retriever.registry import model_folder as version_folder
from include.storage import MANIFEST, ArtifactStore
from tests.models import DIMENSION, build_cross_encoder, build_distiluse, build_model

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store" if request.param == "disk" else f"memory://{tmp_path.name}")


def manifest(version: str = "tiny-tuned-1", **changes: object) -> ModelManifest:
    values = {
        "version": version,
        "kind": "fine-tuned",
        "base_model": "tiny",
        "dimension": DIMENSION,
        "max_seq_length": 96,
        "registered_at": START,
    }
    return ModelManifest.model_validate(values | changes)


def opened(store: ArtifactStore, version: str, device: str = "cpu") -> SentenceTransformer:
    with local_folder(store, version) as folder:
        return load_folder(folder, device)


def test_a_base_model_is_registered_once(
    store: ArtifactStore, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ensure_base(store, str(model_folder), "cpu")
    assert (first.kind, first.dimension, first.max_seq_length) == ("base", DIMENSION, 96)
    monkeypatch.setattr(registry, "load_base", lambda *_: pytest.fail("it was loaded again"))
    assert ensure_base(store, str(model_folder), "cpu") == first


def test_the_name_of_a_base_version_follows_from_its_weights(tmp_path: Path, model_folder: Path) -> None:
    copy = shutil.copytree(model_folder, tmp_path / "copy" / "model")
    other = build_model(tmp_path / "other", seed=8)
    names = [ensure_base(ArtifactStore(tmp_path / str(n)), str(path), "cpu").version
             for n, path in enumerate([model_folder, copy, other])]  # fmt: skip
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("model-base-")


def test_a_registered_model_encodes_as_its_base_does(
    store: ArtifactStore, model_folder: Path, model: SentenceTransformer
) -> None:
    version = ensure_base(store, str(model_folder), "cpu").version
    texts = ["sleep at night", "a soup of onions"]
    np.testing.assert_allclose(opened(store, version).encode(texts), model.encode(texts), atol=1e-6)


def test_what_is_registered_is_never_changed(store: ArtifactStore, tmp_path: Path, model_folder: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "one")
    first = register(store, folder, manifest())
    before = store.read_bytes(FOLDER, first.version, "model.safetensors")
    other = build_model(tmp_path / "other", seed=8)
    again = register(store, other, manifest(registered_at=START + timedelta(days=1)))
    assert again == first
    assert store.read_bytes(FOLDER, first.version, "model.safetensors") == before


def test_a_registration_that_was_killed_is_not_there_and_can_be_repeated(
    store: ArtifactStore, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "one")
    write, written = ArtifactStore.write_file, []

    def fail_late(self: ArtifactStore, source: Path, *parts: str) -> object:
        if parts[0] == FOLDER:
            written.append(parts)
            if len(written) == 4:
                raise OSError("killed")
        return write(self, source, *parts)

    monkeypatch.setattr(ArtifactStore, "write_file", fail_late)
    with pytest.raises(OSError, match="killed"):
        register(store, folder, manifest())
    monkeypatch.undo()
    assert newest_trained(store) is None
    with pytest.raises(ModelError, match="not in the registry"):
        opened(store, manifest().version)
    register(store, folder, manifest())
    assert opened(store, manifest().version).encode("sleep").shape == (DIMENSION,)


def test_the_manifest_is_written_last(
    store: ArtifactStore, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "one")
    write, written = ArtifactStore.write_file, []

    def record(self: ArtifactStore, source: Path, *parts: str) -> object:
        written.append(parts)
        return write(self, source, *parts)

    monkeypatch.setattr(ArtifactStore, "write_file", record)
    register(store, folder, manifest())
    assert written[-1] == (FOLDER, "tiny-tuned-1", MANIFEST)


def test_the_newest_trained_model_is_the_one_registered_last(
    store: ArtifactStore, tmp_path: Path, model_folder: Path
) -> None:
    assert newest_trained(store) is None
    ensure_base(store, str(model_folder), "cpu")
    assert newest_trained(store) is None, "a base model is not trained"
    for version, days in (("tiny-tuned-b", 2), ("tiny-tuned-a", 3), ("tiny-tuned-c", 1)):
        folder = shutil.copytree(model_folder, tmp_path / version)
        register(store, folder, manifest(version, registered_at=START + timedelta(days=days)))
    newest = newest_trained(store)
    assert newest is not None
    assert newest.version == "tiny-tuned-a"


def test_all_versions_are_listed_the_newest_first(store: ArtifactStore, tmp_path: Path) -> None:
    assert registered(store) == []
    for version, days in (("b", 2), ("a", 3), ("c", 2)):
        own = manifest(version, registered_at=START + timedelta(days=days))
        store.write_json(own.model_dump(mode="json"), *version_folder(version), MANIFEST)
    store.write_bytes(b"x", *version_folder("unfinished"), "model.safetensors")
    store.write_json({"version": "a"}, FOLDER, "base-1.json")
    assert [found.version for found in registered(store)] == ["a", "c", "b"]


def test_a_registered_model_has_a_card_with_its_licence_and_metrics(
    store: ArtifactStore, tmp_path: Path, model_folder: Path
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "one")
    own = manifest(license="mit", metrics={"after": {"MRR@5": 0.5}})
    register(store, folder, own)
    card = store.read_bytes(*version_folder(own.version), "README.md").decode()
    assert "license: " in card
    assert "| MRR@5 | after | 0.500 |" in card


def test_the_licence_of_a_base_model_is_that_of_its_card(tmp_path: Path, model_folder: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "own")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n")
    assert ensure_base(ArtifactStore(tmp_path / "1"), str(folder), "cpu").license == "mit"
    assert ensure_base(ArtifactStore(tmp_path / "2"), str(model_folder), "cpu").license == ""


def test_a_manifest_of_an_older_version_of_podsearch_can_be_read(store: ArtifactStore) -> None:
    old = manifest().model_dump(mode="json", exclude={"license", "data", "device_usage"})
    store.write_json(old, FOLDER, "tiny-tuned-1", MANIFEST)
    assert load_manifest(store, "tiny-tuned-1") == manifest()


def test_weights_in_a_pickle_are_refused(tmp_path: Path, model_folder: Path) -> None:
    """Unpickling runs whatever its author wrote."""
    folder = shutil.copytree(model_folder, tmp_path / "pickled")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="PODSEARCH_BASE_MODEL"):
        load_base(str(folder), "cpu")


def test_a_dense_layer_in_a_pickle_is_refused(tmp_path: Path) -> None:
    """sentence-transformers would load it, if it holds weights only."""
    folder = build_distiluse(tmp_path / "with-dense")
    (dense,) = folder.glob("*_Dense")
    torch.save(load_file(dense / "model.safetensors"), dense / "pytorch_model.bin")
    (dense / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"_Dense/pytorch_model.bin, a pickle"):
        load_base(str(folder), "cpu")


def test_a_cross_encoder_is_loaded_from_its_folder(tmp_path: Path) -> None:
    model = load_cross_encoder(str(build_cross_encoder(tmp_path)), "cpu", setting="PODSEARCH_RERANKER")
    assert model.predict([("soil", "a garden")]).shape == (1,)


def test_a_cross_encoder_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"PODSEARCH_RERANKER=.*nowhere' is neither a folder on this machine nor a hub"
    ):
        load_cross_encoder(str(tmp_path / "nowhere"), "cpu", setting="PODSEARCH_RERANKER")


def test_a_cross_encoder_in_a_pickle_is_refused(tmp_path: Path) -> None:
    folder = build_cross_encoder(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"pytorch_model.bin, a pickle.* set PODSEARCH_RERANKER to the folder"):
        load_cross_encoder(str(folder), "cpu", setting="PODSEARCH_RERANKER")


def test_code_that_lies_beside_a_cross_encoder_is_not_run(tmp_path: Path) -> None:
    """A folder may name a class of its own, which transformers would import."""
    folder = build_cross_encoder(tmp_path)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="PODSEARCH_RERANKER"):
        load_cross_encoder(str(folder), "cpu", setting="PODSEARCH_RERANKER")
    assert not (tmp_path / "ran").exists()


def test_a_classifier_is_no_cross_encoder_to_rank_by(tmp_path: Path) -> None:
    folder = build_cross_encoder(tmp_path, labels=3)
    with pytest.raises(ModelError, match="gives 3 figures for two texts, and not one score"):
        load_cross_encoder(str(folder), "cpu", setting="PODSEARCH_RERANKER")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"\x10"),
        ("modules.json", b'{"a": 1}'),
        ("modules.json", b"["),
        ("tokenizer.json", b"[1, 2]"),
        ("config.json", b"null"),
    ],
)
def test_a_damaged_base_model_is_named(tmp_path: Path, model_folder: Path, file: str, content: bytes) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "damaged")
    (folder / file).write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged.*PODSEARCH_BASE_MODEL"):
        load_base(str(folder), "cpu")


def test_a_base_model_that_cannot_be_found_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in (str(tmp_path / "nowhere"), "nobody/no-such-model", "no such name"):
        with pytest.raises(ModelError, match=r"PODSEARCH_BASE_MODEL.*all-MiniLM-L6-v2"):
            load_base(name, "cpu")


def test_an_empty_folder_is_no_base_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="PODSEARCH_BASE_MODEL"):
        load_base(str(tmp_path), "cpu")


def test_a_packaged_model_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.PACKAGED, "all-MiniLM-L6-v2", ("no_such_package", "model"))
    with pytest.raises(ModelError, match="pip install"):
        load_base("all-MiniLM-L6-v2", "cpu")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_damaged_version_is_named(store: ArtifactStore, tmp_path: Path, model_folder: Path, device: str) -> None:
    register(store, shutil.copytree(model_folder, tmp_path / "copy"), manifest())
    weights = store.read_bytes(FOLDER, manifest().version, "model.safetensors")
    store.write_bytes(weights[:1_000], FOLDER, manifest().version, "model.safetensors")
    with pytest.raises(ModelError, match=f"{manifest().version} cannot be loaded.*backup"):
        opened(store, manifest().version, device)


def test_an_unknown_version_is_not_there(store: ArtifactStore) -> None:
    with pytest.raises(FileNotFoundError):
        load_manifest(store, "nothing")
