from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from include.queries.doc2query.engine import TokenizedText
from include.queries.doc2query.load import ModelSource, load_model, load_tokenizer, locate
from include.queries.doc2query.sampling import Sampling
from include.queries.doc2query.torch_engine import TorchEngine
from tests.t5 import Kind, build_t5

USUAL = Sampling()


@dataclass(frozen=True)
class Tiny:
    """A tiny T5 and what goes with it."""

    source: ModelSource
    model: Any
    tokenizer: Any

    def sources(self, *texts: str) -> list[TokenizedText]:
        return [TokenizedText(text, tuple(self.tokenizer.encode(text))) for text in texts]

    def engine(
        self, sampling: Sampling = USUAL, *, steps: int = 16, batch_size: int = 4, stride: int = 0
    ) -> TorchEngine:
        return TorchEngine(
            self.model, sampling=sampling, steps=steps, device="cpu", batch_size=batch_size, stride=stride
        )


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _tiny(folder: Path, kind: Kind = "v1.1", *, steps: int = 0) -> Tiny:
    source = locate(str(build_t5(folder, kind, steps=steps)), None)
    return Tiny(source, load_model(source), load_tokenizer(source))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A T5 v1.1 that babbles: its probabilities are as uneven as random weights make them."""
    return _tiny(tmp_path_factory.mktemp("v1.1"))


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The same of the first T5's shape."""
    return _tiny(tmp_path_factory.mktemp("first"), "first")


@pytest.fixture(scope="session")
def many_languages(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The same as an mT5."""
    return _tiny(tmp_path_factory.mktemp("mt5"), "mt5")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A T5 v1.1 that asks about the words of its text."""
    return _tiny(tmp_path_factory.mktemp("trained"), steps=100)


@pytest.fixture(params=["tiny", "first", "many_languages"])
def each(request: pytest.FixtureRequest) -> Tiny:
    """Each of the shapes in turn."""
    found: Tiny = request.getfixturevalue(request.param)
    return found
