"""The loss of a recipe, in a form that fits the device.

Whatever the form, the gradient is that of the whole batch: embedding it in parts is no part of the recipe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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
from sentence_transformers.util import pairwise_cos_sim
from transformers import PreTrainedModel

from include.retriever.finetuning.hardware import Hardware
from include.retriever.recipe import Recipe
from include.retriever.registry import dimension_of

PIECE = 8
"""Texts that a CPU embeds at a time: few and of like length are fastest (see benchmarks/fine_tuning.py)."""
CACHED_FROM = 256
"""Pairs from which a CPU embeds in mini batches: activations of so many texts take gigabytes, and where a CPU's memory
runs out, there is no going on."""
CACHED_ON_CPU = 32
TEMPERATURE = 0.05
"""Of the cosine similarities: 1/20, MultipleNegativesRankingLoss's default, with which the base models were trained."""


class PiecewiseRankingLoss(MultipleNegativesRankingLoss):
    """MultipleNegativesRankingLoss that embeds a few texts of like length at a time, with all their activations kept.

    The same loss and gradient with less padding and in a cache-friendly size, for CPUs: 64 descriptions padded to the
    longest are 1.3 times as many tokens as in sorted eights, and 64 queries 3.5 times.
    """

    def forward(self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor) -> torch.Tensor:
        columns = list(sentence_features)
        with _words_looked_up_once(self.model, columns):
            embeddings = [self._embed(features) for features in columns]
        return self.compute_loss_from_embeddings(embeddings, labels)

    def _embed(self, features: dict[str, Any]) -> torch.Tensor:
        mask = features["attention_mask"]
        lengths = mask.sum(dim=1)
        order = torch.argsort(lengths, descending=True, stable=True)
        pieces = []
        for rows in order.split(PIECE):
            width = int(lengths[rows].max())
            piece = {
                key: value[rows, :width] if isinstance(value, torch.Tensor) and value.shape == mask.shape else value
                for key, value in features.items()
            }
            pieces.append(self.model(piece)["sentence_embedding"])
        return torch.cat(pieces)[torch.argsort(order)]


def create_loss(
    model: SentenceTransformer,
    recipe: Recipe,
    hardware: Hardware,
    *,
    mini_batch_size: int,
    guide: SentenceTransformer | None = None,
) -> torch.nn.Module:
    """The loss of a recipe.

    :param mini_batch_size: pairs a device embeds at a time; 0 keeps the activations of its whole share of the batch,
        which is a third faster where they fit.
    :param guide: the model that the recipe's ``guide`` names.
    """
    loss = _loss(model, recipe, hardware, mini_batch_size, guide)
    if recipe.matryoshka:
        dimensions = sorted({*recipe.matryoshka, dimension_of(model)}, reverse=True)
        loss = MatryoshkaLoss(model, loss, dimensions)
    return loss


def mini_batch_to_begin_with(recipe: Recipe, hardware: Hardware) -> int:
    """Pairs a device embeds at a time, as long as its memory suffices; 0: its whole share of a batch."""
    if recipe.teacher:
        return 0
    share = recipe.batch_size // hardware.gpus
    return CACHED_ON_CPU if hardware.device == "cpu" and share >= CACHED_FROM else 0


def _loss(
    model: SentenceTransformer,
    recipe: Recipe,
    hardware: Hardware,
    mini_batch_size: int,
    guide: SentenceTransformer | None,
) -> torch.nn.Module:
    gather = hardware.gpus > 1  # then each query is told apart from the texts on all devices
    if recipe.teacher:
        # The margins of a cross-encoder's scores are for dot products; distributions suit the cosine that we search by.
        return DistillKLDivLoss(
            model, similarity_fct=pairwise_cos_sim, student_temperature=TEMPERATURE, teacher_temperature=1.0
        )
    if guide is not None:
        options: dict[str, Any] = {"temperature": TEMPERATURE, "gather_across_devices": gather}
        if mini_batch_size:
            return CachedGISTEmbedLoss(model, guide, mini_batch_size=mini_batch_size, **options)
        return GISTEmbedLoss(model, guide, **options)
    if mini_batch_size:
        return CachedMultipleNegativesRankingLoss(
            model, scale=1 / TEMPERATURE, mini_batch_size=mini_batch_size, gather_across_devices=gather
        )
    whole = PiecewiseRankingLoss if hardware.device == "cpu" else MultipleNegativesRankingLoss
    return whole(model, scale=1 / TEMPERATURE, gather_across_devices=gather)


@contextmanager
def _words_looked_up_once(model: torch.nn.Module, columns: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Take the word vectors of all pieces of a batch from one look-up.

    The gradient of each look-up is a matrix of the whole vocabulary's size, 360 MB for distiluse: to write one for
    each piece took an eighth of the training's time.
    """
    table = _word_table(model)
    if table is None:
        yield
        return
    words = torch.unique(torch.cat([features["input_ids"].flatten() for features in columns]))
    vectors = table(words)
    place = torch.empty(table.num_embeddings, dtype=torch.long, device=words.device)
    place[words] = torch.arange(len(words), device=words.device)

    def look_up(input: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.embedding(place[input], vectors)

    table.forward = look_up  # type: ignore[method-assign]
    try:
        yield
    finally:
        del table.forward


def _word_table(model: torch.nn.Module) -> torch.nn.Embedding | None:
    """The model's word vectors, where they are kept as usual."""
    backbones = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    table = backbones[0].get_input_embeddings() if backbones else None
    return table if type(table) is torch.nn.Embedding else None
