"""Whether an engine computes what the model says: compared with transformers, on a few texts, before it is used.

A wrong conversion shows in no error, and in no greedy decoding: only the probabilities tell.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel

from include.queries.doc2query.engine import Engine, GeneratorModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

log = logging.getLogger(__name__)

LIMITS = {"float32": 0.01, "bfloat16": 0.15, "int8": 0.5}
"""By number format: how much the log-probability of a token may differ in the mean. Measured on T5-base's architecture:
0.000001, and 0.08 with 8 bits; the wrong scale that this is about gives 3 and more."""
STEPS = 6
"""Tokens of the likeliest query that are compared."""
PAIRS = [
    (
        "Why nurses cannot sleep. After a night shift the body thinks it is noon. A sleep researcher explains what "
        "light, coffee and a dark room do to the inner clock. The Night Shift. Health for those who work at night.",
        "how to sleep after working a night shift",
    ),
    (
        "Sourdough for beginners. Flour, water and patience: two bakers keep a starter alive in a cold kitchen and "
        "answer letters about flat loaves. Crumb. A show about bread.",
        "why does my sourdough bread not rise",
    ),
    (
        "Episode 41: The student debt trap. How loans were sold to collectors, who profits, and what borrowers can "
        "still do about it. Money in Plain Words. Personal finance without jargon.",
        "what happens when a student loan is sold",
    ),
    (
        "Songs of the deep. Humpback whales change their songs every year, and nobody knows who starts the new tune. "
        "Field Notes. Biologists tell what they heard and saw.",
        "do whales learn songs from each other",
    ),
    (
        "The endgame. A grandmaster on computers, memory and the one position she still dreams of. Sixty-Four Squares. "
        "Weekly chess talk.",
        "how do chess grandmasters memorize openings",
    ),
    (
        "Climate and the electric car. Is a battery cleaner than a tank of petrol once mining and recycling are "
        "counted? The Long Table. Conversations about what we all pay for.",
        "are electric cars better for the climate",
    ),
]
"""Texts and queries, in English as the model's training data."""


class Parity(BaseModel):
    """How far an engine is from transformers.

    ``mean`` and ``largest``: difference of a token's log-probability. ``regret``: what the engine's likeliest query
    loses against transformers' where the two part, in log-probability, in the mean of all texts.
    """

    tokens: int
    mean: float
    largest: float
    regret: float


def require_parity(
    engine: Engine,
    model: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    *,
    kind: str,
    pairs: Sequence[tuple[str, str]] = PAIRS,
) -> Parity:
    """Compare an engine with the model that it was made of.

    :param kind: its number format.
    :raises GeneratorModelError: it computes something else.
    """
    parity = compare(engine, model, tokenizer, pairs)
    limit = LIMITS[kind]
    log.info("%s (%s) against transformers: %s.", engine.name, kind, parity)
    # Written so that a NaN is refused.
    if not (parity.mean <= limit and parity.regret <= 2 * limit):
        other = "ctranslate2" if engine.name == "torch" else "torch"
        raise GeneratorModelError(
            f"The engine {engine.name} ({kind}) computes other probabilities than transformers: they differ by "
            f"{parity.mean:.3f} on average (at most {limit} is expected) and its likeliest queries lose "
            f"{parity.regret:.3f}. Its queries would be garbage: set PODSEARCH_GENERATOR_ENGINE={other}."
        )
    return parity


def compare(
    engine: Engine,
    model: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]] = PAIRS,
) -> Parity:
    """Measure how far an engine is from the model, as transformers runs it."""
    texts = [tokenizer.encode(text, max_length=128, truncation=True) for text, _ in pairs]
    queries = [tokenizer.encode(query, add_special_tokens=False) for _, query in pairs]
    scores = engine.score(list(zip(texts, queries, strict=True)))
    end = model.config.eos_token_id
    differences = [
        abs(score - float(row[token]))
        for text, query, own in zip(texts, queries, scores, strict=True)
        for score, row, token in zip(own, log_probabilities(model, text, query), [*query, end], strict=True)
    ]
    regrets = [
        _regret(model, text, likeliest, STEPS)
        for text, likeliest in zip(texts, engine.likeliest(texts, STEPS), strict=True)
    ]
    return Parity(
        tokens=len(differences),
        mean=sum(differences) / len(differences),
        largest=max(differences),
        regret=sum(regrets) / len(regrets),
    )


@torch.inference_mode()
def log_probabilities(model: T5ForConditionalGeneration, text: Sequence[int], query: Sequence[int]) -> torch.Tensor:
    """What transformers says of each token of a query and of what comes after it: (tokens + 1, vocabulary)."""
    config: Any = model.config
    device = model.device
    logits = model(
        input_ids=torch.tensor([list(text)], device=device),
        decoder_input_ids=torch.tensor([[config.decoder_start_token_id or 0, *query]], device=device),
    ).logits
    return torch.log_softmax(logits[0].float(), -1)


def _regret(model: T5ForConditionalGeneration, text: Sequence[int], likeliest: Sequence[int], steps: int) -> float:
    """What is lost where a query first takes another token than transformers would."""
    end = model.config.eos_token_id
    chosen = [*likeliest, end][:steps]
    for row, token in zip(log_probabilities(model, text, likeliest), chosen, strict=False):
        best = float(row.max())
        if float(row[token]) < best:
            return best - float(row[token])
    return 0.0
