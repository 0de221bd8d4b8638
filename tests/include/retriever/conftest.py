"""What the retriever's tests share: a tiny base model, built once, and toy pairs."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from sentence_transformers import SentenceTransformer

from include.retriever.pairs import PAIRS
from tests.models import TOPICS, build_model

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Sums are added up in the same order in every run and process."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def model(model_folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(model_folder), device="cpu")


def toy_pairs(*, train: int = 200, evaluation: int = 40, seed: int = 1) -> pa.Table:
    """Pairs whose query shares a topic, and one word, with its positive; two episodes in a row share a group."""
    chance = random.Random(seed)
    rows = []
    for number in range(train + evaluation):
        topic = chance.choice(sorted(TOPICS))
        words = chance.sample(TOPICS[topic], 5)
        rows.append(
            {
                "query": " ".join(words[:2]) + f" {number}",
                "episode_id": f"e{number:04d}",
                "split": "train" if number < train else "eval",
                "origin": chance.choice(["title", "key_phrase"]),
                "positive": " ".join([*words[1:], str(number)]),
                "group": f"g{number // 2}",
                "weight": 1.0,
            }
        )
    return pa.Table.from_pylist(rows, schema=PAIRS)
