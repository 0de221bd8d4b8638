from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from include.queries.doc2query.sampling import Sampling, draw, kept, uniforms

SETTINGS = [
    Sampling(),
    Sampling(top_k=0),
    Sampling(top_p=1.0, top_k=5),
    Sampling(top_p=0.5, temperature=0.7),
    Sampling(top_p=0.01),
    Sampling(top_p=1.0, top_k=0, temperature=2.0),
    Sampling(top_k=1),
]


def warped(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The probabilities that ``generate`` draws from: transformers' own warpers, in its order."""
    scores = TemperatureLogitsWarper(sampling.temperature)(None, logits)
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(None, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    return torch.softmax(scores, -1)


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
def test_tokens_and_probabilities_are_those_of_transformers(sampling: Sampling, spread: float) -> None:
    logits = torch.randn(20, 300, generator=torch.Generator().manual_seed(3)) * spread
    tokens, probabilities = kept(logits, sampling)
    ours = torch.zeros_like(logits).scatter(1, tokens, probabilities / probabilities.sum(-1, keepdim=True))
    expected = warped(logits, sampling)
    assert torch.equal(ours > 0, expected > 0)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_tokens_are_drawn_as_often_as_they_are_likely(sampling: Sampling) -> None:
    logits = torch.randn(1, 40, generator=torch.Generator().manual_seed(5)) * 2
    draws = 20_000
    chances = torch.from_numpy(uniforms(1, "episode", 0, draws))
    counts = torch.bincount(draw(logits.expand(draws, -1), chances, sampling), minlength=40) / draws
    expected = warped(logits, sampling)[0]
    assert bool((counts[expected == 0] == 0).all())
    assert float((counts - expected).abs().max()) < 5 * (0.25 / draws) ** 0.5


def test_the_largest_chance_draws_a_token_that_was_kept() -> None:
    """Rounding must not carry it over to what top_p has cut off."""
    logits = torch.randn(2000, 60, generator=torch.Generator().manual_seed(7))
    for chance in (0.0, float(np.nextafter(np.float32(1), np.float32(0)))):
        tokens = draw(logits, torch.full((2000,), chance), Sampling(top_p=0.6))
        assert bool((warped(logits, Sampling(top_p=0.6)).gather(1, tokens[:, None]) > 0).all())


def test_each_sample_has_numbers_of_its_own_that_do_not_depend_on_how_many_are_asked_for() -> None:
    numbers = uniforms(1, "a", 0, 50)
    assert np.array_equal(uniforms(1, "a", 0, 8), numbers[:8])
    others = [uniforms(2, "a", 0, 50), uniforms(1, "b", 0, 50), uniforms(1, "a", 1, 50)]
    assert all(not np.isin(numbers, other).any() for other in others)
    assert 0 <= numbers.min() <= numbers.max() < 1
