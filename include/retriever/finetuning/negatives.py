"""Hard negatives: texts that look like answers to a query and are none, and a teacher's scores for them.

Candidates come from the base model's search. Those that may well be answers do not count: texts of the episode itself
or of a near duplicate, and whatever is nearly as similar to the query as its positive.
"""

from __future__ import annotations

import io
import logging
import random
from contextlib import redirect_stderr

import pyarrow as pa
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

from include.retriever.recipe import Recipe

log = logging.getLogger(__name__)

SPARE = 8
"""Candidates to each pair beyond those wanted, for some are texts of the pair's own group."""
SIMILARITIES = 2**26
"""How many similarities are held at a time while searching: 256 MiB."""


def add_hard_negatives(
    pairs: pa.Table, model: SentenceTransformer, recipe: Recipe, *, judge: CrossEncoder | None, batch_size: int
) -> pa.Table:
    """Give each pair its hard negatives, as columns ``negative_1``, ``negative_2``, …

    Where too few are found, texts of other groups take their place that a stable draw picks: easy negatives, which do
    no harm, as each pair has many more of in its batch.

    :param pairs: training pairs with ``query``, ``positive`` and ``group``.
    :param model: finds the candidates: the base model.
    :param judge: scores them in its place, if there is one.
    """
    found = _candidates(pairs, model, recipe, judge, batch_size)
    groups: dict[str, set[str]] = {}
    for text, group in zip(pairs["positive"].to_pylist(), pairs["group"].to_pylist(), strict=True):
        groups.setdefault(text, set()).add(group)
    texts = sorted(groups)
    chance = random.Random(recipe.seed)  # noqa: S311 (not for secrets)
    chosen: list[list[str]] = []
    filled = 0
    for row in pairs.select(["query", "positive", "group"]).to_pylist():
        own = [text for text in found.get((row["query"], row["positive"]), []) if row["group"] not in groups[text]]
        own = own[: recipe.hard_negatives]
        filled += recipe.hard_negatives - len(own)
        chosen.append(own + _others(recipe.hard_negatives - len(own), row["group"], texts, groups, own, chance))
    wanted = recipe.hard_negatives * len(pairs)
    log.info("Hard negatives: %d of the %d wanted; the others were drawn at random.", wanted - filled, wanted)
    for number in range(recipe.hard_negatives):
        pairs = pairs.append_column(f"negative_{number + 1}", pa.array([own[number] for own in chosen]))
    return pairs


def add_labels(pairs: pa.Table, teacher: CrossEncoder, *, batch_size: int) -> pa.Table:
    """Give each pair the teacher's scores for its positive and its negatives, as a list ``label``; each text pair is
    scored once."""
    columns = ["positive", *(name for name in pairs.column_names if name.startswith("negative_"))]
    queries = pairs["query"].to_pylist()
    asked = [list(zip(queries, pairs[column].to_pylist(), strict=True)) for column in columns]
    distinct = list(dict.fromkeys(pair for column in asked for pair in column))
    # Not a sigmoid's: it would press the scores of all good answers together.
    scores = teacher.predict(
        distinct, batch_size=batch_size, activation_fn=torch.nn.Identity(), show_progress_bar=False
    )
    known = dict(zip(distinct, map(float, scores), strict=True))
    labels = [[known[pair] for pair in row] for row in zip(*asked, strict=True)]
    return pairs.append_column("label", pa.array(labels, pa.list_(pa.float32())))


def _candidates(
    pairs: pa.Table, model: SentenceTransformer, recipe: Recipe, judge: CrossEncoder | None, batch_size: int
) -> dict[tuple[str, str], list[str]]:
    """By query and positive: texts that are similar to the query, but less than the positive is; most similar first."""
    with redirect_stderr(io.StringIO()):  # progress bars
        mined = mine_hard_negatives(
            Dataset(pairs.select(["query", "positive"])),
            model,
            "query",
            "positive",
            relative_margin=recipe.negative_margin,
            num_negatives=recipe.hard_negatives + SPARE,
            sampling_strategy="top",
            query_prompt=recipe.query_prompt or None,
            output_format="labeled-list",
            batch_size=batch_size,
            faiss_batch_size=max(1, SIMILARITIES // len(pairs)),
            verbose=False,
            cross_encoder=judge,
        )
    return {(row["query"], row["positive"][0]): row["positive"][1:] for row in mined}


def _others(
    count: int, group: str, texts: list[str], groups: dict[str, set[str]], taken: list[str], chance: random.Random
) -> list[str]:
    """Texts of other groups; one may come twice on a catalogue that has too few."""
    others: list[str] = []
    for _ in range(count):
        for _ in range(100):
            text = chance.choice(texts)
            if group not in groups[text] and text not in taken and text not in others:
                break
        others.append(text)
    return others
