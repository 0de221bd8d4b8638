"""The recipe of a training: its hyper-parameters."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, model_validator


class Recipe(BaseModel):
    """Everything that, with the pairs and the base model, decides the trained weights.

    The defaults are the article's recipe. What is off by default is worth a trial on one's own catalogue: each has
    helped in the papers that are named, and some have done harm elsewhere.
    """

    epochs: int = 1
    batch_size: int = 64
    """Pairs that are told apart from one another in a step, on however many devices. Larger is often better; memory
    does not bound it, for the loss goes over to embedding a part at a time (GradCache, arXiv 2101.06983)."""
    learning_rate: float = 2e-5
    warmup_share: float = 0.1
    max_seq_length: int = 128
    """Tokens of a text seen in training; encoding keeps the base model's own length."""
    seed: int = 20171201
    sorted_batches: int = Field(1, ge=1)
    """Texts of so many batches are sorted by length before they are dealt out, so that less is padding; 1 leaves it to
    chance. On a GPU a batch is one matrix, in which padding costs as much as text. On a CPU each batch is embedded in
    pieces of like length in any case, and more than 1 is hardly faster."""
    patience: int = Field(0, ge=0)
    """End the training after so many evaluations in a row without a better MRR@5 than the best, and keep the best; 0
    trains to the end. Eight evaluations are made in a training, on the eval split: it must be large enough for their
    differences not to be chance (hundreds of episodes)."""
    keep_best: bool = False
    """Keep the weights of the best evaluation, not the last."""
    hard_negatives: int = Field(0, ge=0)
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
    matryoshka: list[int] = []
    """Dimensions to which the model's vectors may be cut afterwards; each is trained with the whole (arXiv 2205.13147).
    Without it, MiniLM cut to 128 of 384 lost 2 to 8 points of Recall on podcast shows."""
    query_prompt: str = ""
    """Stands before each query, in training and ever after: the model keeps it as its prompt ``query``. BGE gained
    1.4 % of nDCG with one."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
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
