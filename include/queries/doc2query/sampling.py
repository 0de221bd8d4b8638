"""Drawing tokens: nucleus sampling from numbers that are known beforehand.

Each sample of an episode has a random stream of its own, which a hash names. What is drawn does not depend on which
other episodes share the batch, on their order, or on whether the task was killed and tried again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True)
class Sampling:
    """From which tokens one is drawn; see :class:`include.queries.contract.GeneratorSpec`."""

    top_p: float = 0.95
    top_k: int = 50
    temperature: float = 1.0


def uniforms(seed: int, episode_id: str, sample: int, steps: int) -> npt.NDArray[np.float32]:
    """The random numbers of one sample, one a step, in [0, 1). More steps begin with the same numbers."""
    name = hashlib.sha256(f"{seed}:doc2query:{sample}:{episode_id}".encode()).digest()
    # Philox is a cipher over a counter: any key is as good as any other, and costs nothing to set up.
    stream = np.random.Generator(np.random.Philox(key=int.from_bytes(name[:16], "big")))
    return stream.random(steps, dtype=np.float32)


def draw(logits: torch.Tensor, chances: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """One token a row.

    :param logits: (rows, vocabulary).
    :param chances: (rows,), a uniform random number for each.
    :returns: (rows,) tokens.
    """
    tokens, probabilities = kept(logits, sampling)
    reached = probabilities.cumsum(-1)
    # The last one is what is kept in all; rounding may carry a chance near 1 up to it, and past the last token kept.
    place = torch.searchsorted(reached, chances[:, None] * reached[:, -1:], right=True)
    last = (probabilities > 0).sum(-1, keepdim=True) - 1
    return tokens.gather(-1, torch.minimum(place, last))[:, 0]


def kept(logits: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens that may be drawn, likeliest first, and their probabilities before what is left is scaled up.

    What transformers' warpers do in ``generate``, in their order: temperature, ``top_k``, ``top_p``.

    :param logits: (rows, vocabulary).
    :returns: both (rows, candidates); what ``top_p`` cuts off has the probability 0.
    """
    size = logits.shape[-1]
    scores, tokens = torch.topk(logits.float(), min(sampling.top_k or size, size), dim=-1)
    probabilities = torch.softmax(scores / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        # A token goes if those before it have enough already: the first always stays.
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= sampling.top_p, 0.0)
    return tokens, probabilities
