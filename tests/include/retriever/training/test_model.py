from __future__ import annotations

from pathlib import Path

import pytest

from include.retriever.finetuning.hardware import Hardware
from include.retriever.registry import load_folder, load_manifest, local_folder, newest_trained
from include.retriever.training.model import register_trained, train, trained
from include.retriever.training.pairing import write_pairs
from include.retriever.training.plan import why_due
from include.storage import ArtifactStore
from tests.include.retriever.training.workshop import RECIPE, generate_all, plan, publish_snapshot
from tests.models import DIMENSION

USAGE = {"device": "cpu", "seconds": 1.5}


def test_from_snapshot_to_registered_model(
    store: ArtifactStore, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, and every step of it once more, as after a cleared task: nothing changes, nothing is redone."""
    publish_snapshot(store)
    planned = plan(store, base_model=str(model_folder))
    generate_all(store, planned)
    write_pairs(store, planned, curated={})
    assert trained(store, planned) is None
    work = tmp_path / "work"
    fitted = train(store, planned, hardware=Hardware(), work_root=work)
    assert newest_trained(store) is None, "a model goes into the registry in a step of its own"
    registered = register_trained(store, planned, device_usage=USAGE, work_root=work)
    assert registered == newest_trained(store) == load_manifest(store, fitted.version)
    assert registered == fitted.model_copy(update={"device_usage": USAGE})
    assert not (work / planned.training_id).exists()
    with local_folder(store, fitted.version) as folder:
        assert load_folder(folder, "cpu").encode("sleep").shape == (DIMENSION,)
    assert why_due(store, base_model=str(model_folder), recipe=RECIPE, retrain_after_days=30) is None

    monkeypatch.setattr(
        "include.retriever.finetuning.run.fine_tune", lambda *_, **__: pytest.fail("it was trained again")
    )
    before = store.read_bytes("models", fitted.version, "model.safetensors")
    assert plan(store, base_model=str(model_folder)) == planned
    assert train(store, planned, hardware=Hardware(), work_root=work).version == fitted.version
    assert register_trained(store, planned, device_usage=USAGE, work_root=work) == registered
    assert store.read_bytes("models", fitted.version, "model.safetensors") == before
