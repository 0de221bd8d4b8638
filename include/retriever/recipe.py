"""The training recipe: queries, split, hyper-parameters; and how to read it from a file."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from include.errors import PermanentError


class RecipeError(PermanentError, ValueError):
    """A recipe file cannot be used; the message has its path, and each entry that is wrong."""


class Recipe(BaseModel):
    """Everything that, with the episodes, the generator and the base model, decides the trained weights.

    The defaults are the article's recipe. What is off by default is worth a try on your own catalogue: each option
    helped in the papers cited, and some did harm elsewhere.
    """

    max_episodes: int = Field(83_000, ge=1, le=10**9)
    """How many episodes to write queries for, a seeded sample of the catalogue. At three queries each this gives
    250,000; more gained nothing (GPL, arXiv 2112.07577)."""
    queries_per_episode: int = Field(3, ge=1, le=50)
    """Queries to write per episode."""
    query_shard_episodes: int = Field(2_000, ge=1, le=10**6)
    """Episodes per query-writing task: minutes of work on a GPU."""
    round_trip: int = Field(0, ge=0, le=10**6)
    """Train only on queries whose episode the base model finds among its first N results (0: on all queries). Pays off
    above some 20,000 episodes."""
    train_share: float = Field(0.80, gt=0, lt=1)
    """Share of the episodes whose queries are trained on."""
    eval_share: float = Field(0.01, gt=0, lt=1)
    """Share of the episodes that the model is measured on during training. What is left is the test split."""
    epochs: int = Field(1, ge=1, le=1_000)
    """Passes over the training pairs."""
    batch_size: int = Field(64, ge=2, le=2**16)
    """Pairs contrasted with one another in a step, on however many devices. Larger is often better, and memory does not
    limit it: beyond what fits, the loss embeds a chunk at a time (GradCache, arXiv 2101.06983)."""
    learning_rate: float = Field(2e-5, gt=0, le=1)
    """Peak learning rate; it is warmed up to this value and then decays to zero."""
    warmup_share: float = Field(0.1, ge=0, le=1)
    """Share of the steps spent on warm-up."""
    max_seq_length: int = Field(128, ge=1, le=2**16)
    """Tokens of a text used in training; encoding keeps the base model's own length."""
    seed: int = Field(20171201, ge=0, le=2**32 - 1)
    """Seed of every draw: the sample of episodes, their queries, the order of pairs."""
    sorted_batches: int = Field(1, ge=1, le=2**16)
    """Sort the texts of this many batches by length before splitting them into batches, to reduce padding; 1 leaves it
    to chance. On a GPU a batch is one matrix, in which padding costs as much as text. On a CPU batches are embedded in
    pieces of similar length anyway, and more than 1 is hardly faster."""
    patience: int = Field(0, ge=0, le=1_000)
    """Early stopping: end after this many evaluations in a row without a better MRR@5, and keep the best; 0 trains to
    the end. There are eight evaluations per training, on the eval split, which must be large enough (hundreds of
    episodes) for their differences not to be chance."""
    keep_best: bool = False
    """Keep the weights of the best evaluation instead of the last."""
    hard_negatives: int = Field(0, ge=0, le=50)
    """Hard negatives per pair: texts that look like answers to the query but are not. NV-Retriever (arXiv 2407.15831):
    4 of the top 10, without those near the positive, gave +4.5 points of nDCG; without that precaution RocketQA (arXiv
    2010.08191) lost 6 points of MRR and GPL (arXiv 2112.07577) 2.5 of nDCG."""
    negative_margin: float = Field(0.05, ge=0, lt=1)
    """A negative's similarity to the query must be lower than the positive's by this fraction (NV-Retriever's
    TopK-PercPos at 95 %). On small catalogues 0.05 may leave few negatives, and 0.2 only easy ones: check the log."""
    cross_encoder: str = ""
    """A model that judges the candidates for negatives, instead of the base model's similarity: slower, but more
    reliable."""
    guide: str = ""
    """A model that decides which other texts in a batch might well answer a query, so that they do not count as
    negatives (GISTEmbed, arXiv 2402.16829); ``base`` is the base model as it was."""
    teacher: str = ""
    """A cross-encoder whose scores for a pair and its hard negatives are learned instead of yes and no (GPL, arXiv
    2112.07577: +2.7 points of nDCG over plain pairs on six domains)."""
    matryoshka: list[Annotated[int, Field(ge=1, le=2**16)]] = []
    """Dimensions that the model's vectors may be truncated to later; each is trained along with the full vector (arXiv
    2205.13147). Without this, MiniLM truncated from 384 to 128 lost 2 to 8 points of Recall on podcast shows."""
    query_prompt: str = ""
    """Text put before each query, in training and ever after: the model keeps it as its prompt ``query``. BGE gained
    1.4 % of nDCG with one."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.train_share + self.eval_share >= 1:
            raise ValueError("train_share and eval_share leave nothing to test on: lower one of them.")
        if self.teacher and not self.hard_negatives:
            raise ValueError("A teacher scores hard negatives: set hard_negatives to 1 or more, or leave teacher out.")
        if self.teacher and self.guide:
            raise ValueError(
                "A guide chooses a batch's negatives, and a teacher uses none of them: set one of the two."
            )
        if self.cross_encoder and not self.hard_negatives:
            raise ValueError(
                "The cross-encoder judges hard negatives: set hard_negatives to 1 or more, or leave it out."
            )
        return self

    @property
    def keeps_best(self) -> bool:
        return self.keep_best or self.patience > 0


def read_recipe(path: Path | None) -> Recipe:
    """Read a recipe from a TOML file, each entry a field of :class:`Recipe`; what it leaves out keeps its default.

    :param path: None for the defaults, which are the article's.
    :raises RecipeError: there is no such file, or something in it is wrong.
    """
    if path is None:
        return Recipe()
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"The recipe {path} (PODSEARCH_RECIPE) cannot be read: {error}.") from None
    try:
        return Recipe.model_validate(written, extra="forbid")
    except ValidationError as error:
        raise RecipeError("\n".join(f"{path}: {line}" for line in _mistakes(error))) from None


def _mistakes(error: ValidationError) -> list[str]:
    """A line for each entry that is wrong, with its value."""
    lines = []
    for item in error.errors():
        name = ".".join(map(str, item["loc"]))
        if item["type"] == "extra_forbidden":
            nearest = difflib.get_close_matches(name, Recipe.model_fields, n=1, cutoff=0)[0]
            lines.append(f"there is no {name}; the closest match is {nearest}")
        elif name:
            lines.append(f"{name} = {item['input']!r}: {item['msg']}")
        else:
            lines.append(item["msg"].removeprefix("Value error, "))
    return lines
