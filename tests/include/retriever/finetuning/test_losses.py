"""However a batch is embedded, the loss and its gradient are those of the whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import (
    CachedGISTEmbedLoss,
    CachedMultipleNegativesRankingLoss,
    DistillKLDivLoss,
    GISTEmbedLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)

from include.retriever.finetuning.hardware import Hardware
from include.retriever.finetuning.losses import (
    CACHED_FROM,
    PiecewiseRankingLoss,
    create_loss,
    mini_batch_to_begin_with,
)
from include.retriever.recipe import Recipe
from tests.include.retriever.conftest import toy_pairs
from tests.models import DIMENSION

CPU, GPU = Hardware(), Hardware(device="cuda")


@pytest.fixture(params=["bert", "distiluse"])
def student(request: pytest.FixtureRequest, model_folder: Path, distiluse_folder: Path) -> SentenceTransformer:
    """Without dropout, so that two forward passes give the same."""
    folder = model_folder if request.param == "bert" else distiluse_folder
    return SentenceTransformer(str(folder), device="cpu").eval()


def gradient(
    loss: torch.nn.Module, model: SentenceTransformer, *, columns: int = 2, labels: Any = None
) -> torch.Tensor:
    """The loss, and its gradient at the model's weights, in one row of numbers."""
    rows = toy_pairs(train=21, evaluation=0).to_pylist()
    texts = [[row["query"] for row in rows]]
    for shift in range(columns - 1):
        # Some texts are longer than others: there is padding to be left out.
        texts.append([rows[(n + shift) % 21]["positive"] * (1 + n % 3) for n in range(21)])
    model.zero_grad()
    value = loss([dict(model.preprocess(column)) for column in texts], labels)
    value.backward()
    weights = [values.grad.flatten() for values in model.parameters() if values.grad is not None]
    return torch.cat([value.detach().reshape(1), *weights])


@pytest.mark.parametrize("columns", [2, 4], ids=["pairs", "hard negatives"])
@pytest.mark.parametrize("mini_batch_size", [0, 1, 8, 64])
def test_embedding_in_parts_changes_nothing(student: SentenceTransformer, mini_batch_size: int, columns: int) -> None:
    whole = gradient(MultipleNegativesRankingLoss(student), student, columns=columns)
    loss = create_loss(student, Recipe(), CPU, mini_batch_size=mini_batch_size)
    assert isinstance(loss, CachedMultipleNegativesRankingLoss if mini_batch_size else PiecewiseRankingLoss)
    torch.testing.assert_close(gradient(loss, student, columns=columns), whole, rtol=1e-3, atol=1e-5)


def test_a_cpu_embeds_texts_of_like_length_together(
    student: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so hardly any padding."""
    sizes: list[tuple[int, int]] = []
    forward = type(student[0]).forward

    def watch(module: Any, features: dict[str, Any], **more: Any) -> Any:
        sizes.append((features["input_ids"].numel(), int(features["attention_mask"].sum())))
        return forward(module, features, **more)

    monkeypatch.setattr(type(student[0]), "forward", watch)
    gradient(MultipleNegativesRankingLoss(student), student)
    padded, sizes = sizes, []
    gradient(create_loss(student, Recipe(), CPU, mini_batch_size=0), student)
    padding, before = (sum(size - own for size, own in calls) for calls in (sizes, padded))
    assert sum(own for _, own in sizes) == sum(own for _, own in padded)
    assert padding < before / 3


def test_the_whole_vocabulary_has_its_gradient_written_once(
    student: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a model of many words, once for each piece took longer than some of its layers."""
    (table,) = (values for name, values in student.named_parameters() if name.endswith("word_embeddings.weight"))
    embedding = torch.nn.functional.embedding
    asked: list[int] = []

    def watch(ids: torch.Tensor, weight: torch.Tensor, *more: Any, **options: Any) -> torch.Tensor:
        asked.append(1) if weight is table else None
        return embedding(ids, weight, *more, **options)

    monkeypatch.setattr(torch.nn.functional, "embedding", watch)
    gradient(create_loss(student, Recipe(), CPU, mini_batch_size=0), student)
    assert len(asked) == 1
    gradient(MultipleNegativesRankingLoss(student), student)
    assert len(asked) == 3, "the table is as it was"


def test_matryoshka_trains_the_whole_vector_and_its_beginnings(student: SentenceTransformer) -> None:
    recipe = Recipe(matryoshka=[8, 4])
    loss = create_loss(student, recipe, CPU, mini_batch_size=0)
    assert isinstance(loss, MatryoshkaLoss)
    assert loss.matryoshka_dims in ((DIMENSION, 8, 4), (DIMENSION // 2, 8, 4))
    cached = create_loss(student, recipe, CPU, mini_batch_size=4)
    torch.testing.assert_close(gradient(cached, student), gradient(loss, student), rtol=1e-3, atol=1e-5)


def test_a_guide_takes_out_what_may_be_an_answer(model_folder: Path) -> None:
    student, guide = (SentenceTransformer(str(model_folder), device="cpu").eval() for _ in range(2))
    recipe = Recipe(guide="base")
    whole = create_loss(student, recipe, CPU, mini_batch_size=0, guide=guide)
    cached = create_loss(student, recipe, CPU, mini_batch_size=4, guide=guide)
    assert (type(whole), type(cached)) == (GISTEmbedLoss, CachedGISTEmbedLoss)
    torch.testing.assert_close(gradient(cached, student), gradient(whole, student), rtol=1e-3, atol=1e-5)


def test_a_teachers_order_is_learnt(student: SentenceTransformer) -> None:
    loss = create_loss(student, Recipe(teacher="judge", hard_negatives=1), CPU, mini_batch_size=0)
    assert isinstance(loss, DistillKLDivLoss)
    optimizer = torch.optim.SGD(student.parameters(), lr=1.0)
    labels = torch.tensor([[2.0, -2.0]] * 21)
    first = gradient(loss, student, columns=3, labels=labels)[0]
    for _ in range(20):
        optimizer.step()
        last = gradient(loss, student, columns=3, labels=labels)[0]
    assert last < first


@pytest.mark.parametrize(
    ("recipe", "hardware", "size"),
    [
        (Recipe(), CPU, 0),
        (Recipe(), GPU, 0),
        (Recipe(batch_size=CACHED_FROM), CPU, 32),
        (Recipe(batch_size=CACHED_FROM), GPU, 0),
        (Recipe(batch_size=CACHED_FROM), Hardware(gpus=2), 0),
        (Recipe(teacher="judge", hard_negatives=1), CPU, 0),
    ],
)
def test_when_a_batch_is_embedded_in_parts(recipe: Recipe, hardware: Hardware, size: int) -> None:
    assert mini_batch_to_begin_with(recipe, hardware) == size
