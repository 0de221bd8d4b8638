"""The recipe of a training: its queries, their split, its hyper-parameters; and how a file says it."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from include.errors import PermanentError


class RecipeError(PermanentError, ValueError):
    """A recipe file cannot be used; the message has its path, and each entry that is wrong."""


class Recipe(BaseModel):
    """Everything that, with the episodes, the generator and the base model, decides the trained weights.

    The defaults are the article's recipe. What is off by default is worth a trial on one's own catalogue: each has
    helped in the papers that are named, and some have done harm elsewhere.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    max_episodes: int = Field(83_000, ge=1, le=10**9)
    """Episodes that queries are written for, a seeded sample of the catalogue. With three queries each these are
    250,000: more gained nothing (GPL, arXiv 2112.07577)."""
    queries_per_episode: int = Field(3, ge=1, le=50)
    """Queries that are written for each of them."""
    query_shard_episodes: int = Field(2_000, ge=1, le=10**6)
    """Episodes that one task writes queries for: minutes of work on a GPU."""
    round_trip: int = Field(0, ge=0, le=10**6)
    """Train only on queries whose episode the base model finds among so many (0: on all). It pays above some 20,000
    episodes."""
    train_share: float = Field(0.80, gt=0, lt=1)
    """Share of the episodes whose queries are trained on."""
    eval_share: float = Field(0.01, gt=0, lt=1)
    """Share of those that a model is measured on while it is trained. What is left is the test split."""
    epochs: int = Field(1, ge=1, le=1_000)
    """How often each pair is seen."""
    batch_size: int = Field(64, ge=2, le=2**16)
    """Pairs that are told apart from one another in a step, on however many devices. Larger is often better; memory
    does not bound it, for the loss goes over to embedding a part at a time (GradCache, arXiv 2101.06983)."""
    learning_rate: float = Field(2e-5, gt=0, le=1)
    """At its height; it rises to there, and falls to nothing."""
    warmup_share: float = Field(0.1, ge=0, le=1)
    """Share of the steps in which it rises."""
    max_seq_length: int = Field(128, ge=1, le=2**16)
    """Tokens of a text seen in training; encoding keeps the base model's own length."""
    seed: int = Field(20171201, ge=0, le=2**32 - 1)
    """Of every draw: the sample of episodes, their queries, the order of pairs."""
    sorted_batches: int = Field(1, ge=1, le=2**16)
    """Texts of so many batches are sorted by length before they are dealt out, so that less is padding; 1 leaves it to
    chance. On a GPU a batch is one matrix, in which padding costs as much as text. On a CPU each batch is embedded in
    pieces of like length in any case, and more than 1 is hardly faster."""
    patience: int = Field(0, ge=0, le=1_000)
    """End the training after so many evaluations in a row without a better MRR@5 than the best, and keep the best; 0
    trains to the end. Eight evaluations are made in a training, on the eval split: it must be large enough for their
    differences not to be chance (hundreds of episodes)."""
    keep_best: bool = False
    """Keep the weights of the best evaluation, not the last."""
    hard_negatives: int = Field(0, ge=0, le=50)
    """Texts to each pair that look like answers to its query and are none. NV-Retriever (arXiv 2407.15831): 4 of the
    top 10, without those near the positive, gave +4.5 points of nDCG; without that care RocketQA (arXiv 2010.08191)
    lost 6 points of MRR and GPL (arXiv 2112.07577) 2.5 of nDCG."""
    negative_margin: float = Field(0.05, ge=0, lt=1)
    """A negative's similarity to the query must be smaller than the positive's by this part of it (NV-Retriever's
    TopK-PercPos at 95 %). On small catalogues 0.05 may leave few and 0.2 too easy ones: look at the log."""
    cross_encoder: str = ""
    """A model that judges the candidates for negatives, in place of the base model's similarity: slower, and surer."""
    guide: str = ""
    """A model that says which other texts of a batch may well answer a query, which then do not count as negatives
    (GISTEmbed, arXiv 2402.16829); ``base`` is the base model as it was."""
    teacher: str = ""
    """A cross-encoder whose scores for a pair and its hard negatives are learnt in place of yes and no (GPL, arXiv
    2112.07577: +2.7 points of nDCG over plain pairs on six domains)."""
    matryoshka: list[Annotated[int, Field(ge=1, le=2**16)]] = []
    """Dimensions to which the model's vectors may be cut afterwards; each is trained with the whole (arXiv 2205.13147).
    Without it, MiniLM cut to 128 of 384 lost 2 to 8 points of Recall on podcast shows."""
    query_prompt: str = ""
    """Stands before each query, in training and ever after: the model keeps it as its prompt ``query``. BGE gained
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
    """The recipe in a TOML file, each entry a field of :class:`Recipe`; the defaults stand for what it leaves out.

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
            lines.append(f"there is no {name}; the nearest is {nearest}")
        elif name:
            lines.append(f"{name} = {item['input']!r}: {item['msg']}")
        else:
            lines.append(item["msg"].removeprefix("Value error, "))
    return lines
