"""What the tests of fine-tuning share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from include.retriever.manifest import ModelManifest
from include.retriever.registry import ensure_base
from include.storage import ArtifactStore
from tests.include.retriever.finetuning.workshop import tune
from tests.models import build_distiluse


@pytest.fixture(scope="session")
def distiluse_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_distiluse(tmp_path_factory.mktemp("distiluse"))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> ModelManifest:
    return ensure_base(ArtifactStore(tmp_path_factory.mktemp("registry")), str(model_folder), "cpu")


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, base: ModelManifest
) -> tuple[Path, ModelManifest]:
    """Where a training that nothing happened to left its work, and its manifest."""
    work = tmp_path_factory.mktemp("undisturbed")
    return work, tune(work, model_folder, base)


@pytest.fixture(scope="session")
def calm_folder(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """The tiny model without dropout: whatever device it is trained on, and in whatever parts, it becomes the same."""
    folder = shutil.copytree(model_folder, tmp_path_factory.mktemp("calm") / "model")
    (config,) = (path for path in folder.rglob("config.json") if "hidden_dropout_prob" in path.read_text())
    settings = json.loads(config.read_text()) | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config.write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def calm(
    tmp_path_factory: pytest.TempPathFactory, calm_folder: Path, base: ModelManifest
) -> tuple[Path, ModelManifest]:
    """Where an undisturbed training of the model without dropout left its work, and its manifest."""
    work = tmp_path_factory.mktemp("calm")
    return work, tune(work, calm_folder, base)
