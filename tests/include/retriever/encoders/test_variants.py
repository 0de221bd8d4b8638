from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from include.retriever.encoders.opening import open_encoder
from include.retriever.encoders.variants import ensure_precision
from include.retriever.registry import ensure_base, load_manifest, registered
from include.retriever.registry import model_folder as version_folder
from include.storage import ArtifactStore
from tests.include.retriever.encoders.texts import some_texts

TEXTS = some_texts(10)


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hub"))
    return ArtifactStore(tmp_path / "store" if request.param == "disk" else f"memory://{tmp_path.name}")


def test_another_precision_is_another_version_of_the_same_model(store: ArtifactStore, model_folder: Path) -> None:
    base = ensure_base(store, str(model_folder), "cpu")
    small = ensure_precision(store, base.version, "int8")
    assert small == base.model_copy(update={"version": f"{base.version}-int8"})
    assert load_manifest(store, small.version) == small
    assert load_manifest(store, base.version) == base
    assert ensure_precision(store, base.version, "int8") == small
    assert ensure_precision(store, small.version, "float32") == base
    assert ensure_precision(store, base.version, "float32") == base
    assert len(registered(store)) == 2


def test_either_is_of_use_without_the_other(store: ArtifactStore, model_folder: Path) -> None:
    """Versions are retired one by one."""
    base = ensure_base(store, str(model_folder), "cpu").version
    small = ensure_precision(store, base, "int8").version
    exact = open_encoder(store, base, "cpu").encode(TEXTS)
    store.remove(*version_folder(base))
    close = open_encoder(store, small, "cpu").encode(TEXTS)
    assert 0.98 < np.einsum("nd,nd->n", close, exact).min() < 1 - 1e-6
    assert ensure_precision(store, small, "float32").version == base
    np.testing.assert_array_equal(open_encoder(store, base, "cpu").encode(TEXTS), exact)


def test_an_unknown_version_has_no_other_precision(store: ArtifactStore) -> None:
    with pytest.raises(FileNotFoundError):
        ensure_precision(store, "unknown", "int8")
