"""What a training learns from: pairs, with whatever else the recipe asks for, prepared once and kept for a retry."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset
from sentence_transformers import SentenceTransformer

from include.retriever.finetuning.negatives import add_hard_negatives, add_labels
from include.retriever.finetuning.sampler import Integers, PairBatchSampler
from include.retriever.recipe import Recipe
from include.retriever.registry import load_cross_encoder
from include.storage import ArtifactStore

log = logging.getLogger(__name__)

FILE = "examples.parquet"
APART = ["query", "positive", "group"]
"""What must not come twice in a batch. An episode's queries share its group."""
SCORED_AT_A_TIME = 32
CHARACTERS_OF_A_TOKEN = 12
"""More than almost any token has: what lies behind so many is cut off in any case, and need not be tokenised."""


def prepare_examples(
    model: SentenceTransformer, pairs: pa.Table, recipe: Recipe, *, device: str, work: Path
) -> pa.Table:
    """The pairs with their hard negatives and the teacher's scores, if the recipe has them.

    :param pairs: of the train split.
    :param work: keeps the result, so that a killed training does not search and score anew.
    """
    store = ArtifactStore(work)
    if store.exists(FILE):
        return store.read_table(FILE)
    kept = [name for name in (*APART, "weight") if name in pairs.column_names]
    examples = pairs.select(kept).combine_chunks()
    if recipe.hard_negatives:
        name = recipe.cross_encoder
        judge = load_cross_encoder(name, device, setting="the recipe's cross_encoder") if name else None
        examples = add_hard_negatives(examples, model, recipe, judge=judge, batch_size=SCORED_AT_A_TIME)
    if recipe.teacher:
        teacher = load_cross_encoder(recipe.teacher, device, setting="the recipe's teacher")
        examples = add_labels(examples, teacher, batch_size=SCORED_AT_A_TIME)
    store.write_table(examples, FILE)
    return examples


def training_texts(examples: pa.Table) -> Dataset:
    """The columns that the loss sees, in its order: query, positive, negatives, and the teacher's scores."""
    columns = {"anchor": examples["query"], "positive": examples["positive"]}
    columns |= {name: examples[name] for name in (*_negatives(examples), "label") if name in examples.column_names}
    return Dataset(pa.table(columns))


def create_sampler(
    examples: pa.Table, model: SentenceTransformer, recipe: Recipe, *, parts: int = 1
) -> PairBatchSampler:
    """The batches of a recipe.

    :param parts: devices that share each batch.
    """
    keys = np.stack([_numbered(examples[name]) for name in APART], axis=1)
    columns = ["positive", *_negatives(examples)]
    lengths = np.max([_lengths(model, examples[name].to_pylist(), recipe) for name in columns], axis=0)
    weights = examples["weight"].to_numpy().astype(np.float64) if "weight" in examples.column_names else None
    if weights is not None and np.ptp(weights) == 0:
        weights = None
    return PairBatchSampler(
        keys,
        lengths,
        batch_size=recipe.batch_size,
        sorted_batches=recipe.sorted_batches,
        weights=weights,
        parts=parts,
        seed=recipe.seed,
    )


def token_counts(model: SentenceTransformer, texts: list[str]) -> Integers:
    """Tokens of each text, as many as the model reads, shape (texts,)."""
    longest = model.max_seq_length
    room = longest * CHARACTERS_OF_A_TOKEN if longest else None
    counts: dict[str, int] = {}
    distinct = list(dict.fromkeys(texts))
    for start in range(0, len(distinct), 1024):
        some = distinct[start : start + 1024]
        encoded = model.tokenizer([text[:room] for text in some], truncation=longest is not None, max_length=longest)
        counts.update(zip(some, map(len, encoded["input_ids"]), strict=True))
    return np.array([counts[text] for text in texts], dtype=np.int64)


def _lengths(model: SentenceTransformer, texts: list[str], recipe: Recipe) -> Integers:
    """In tokens, or where pairs are only put in order within a batch, in characters: far quicker to tell."""
    return token_counts(model, texts) if recipe.sorted_batches > 1 else np.array(list(map(len, texts)), dtype=np.int64)


def _negatives(examples: pa.Table) -> list[str]:
    return [name for name in examples.column_names if name.startswith("negative_")]


def _numbered(column: pa.ChunkedArray) -> Integers:
    """The same number for the same text."""
    numbers: Integers = column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return numbers
