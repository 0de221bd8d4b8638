"""Our decoding loop against transformers' ``generate``."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

import pytest
import torch

from include.queries.doc2query.engine import TokenizedText
from include.queries.doc2query.parity import log_probabilities
from include.queries.doc2query.sampling import Sampling
from tests.include.queries.doc2query.conftest import Tiny
from tests.t5 import example


def texts(count: int, *, longest: int = 6) -> list[str]:
    """Texts of very different lengths, so that short ones are padded and slots change hands."""
    chance = random.Random(11)
    return [" ".join(example(chance)[0] for _ in range(chance.randint(1, longest))) for _ in range(count)]


def plain(tokens: Sequence[int]) -> list[int]:
    """What ``generate`` returns, without start, end and padding."""
    rest = list(tokens)[1:]
    return rest[: rest.index(1)] if 1 in rest else rest


def generated(
    tiny: Tiny, sources: Sequence[TokenizedText], n: int, *, steps: int, seed: int = 3
) -> list[list[list[int]]]:
    """What transformers samples for texts, in one padded batch."""
    batch = tiny.tokenizer.pad({"input_ids": [list(source.tokens) for source in sources]}, return_tensors="pt")
    options = {"do_sample": True, "top_p": 0.95, "top_k": 50, "num_return_sequences": n} if n else {"do_sample": False}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        rows = tiny.model.generate(**batch, max_new_tokens=steps, num_beams=1, **options).tolist()
    return [[plain(row) for row in rows[at : at + max(n, 1)]] for at in range(0, len(rows), max(n, 1))]


@pytest.mark.parametrize(("batch_size", "stride"), [(1, 1), (4, 1), (50, 1), (9, 5)])
def test_the_likeliest_queries_are_those_of_generate(each: Tiny, batch_size: int, stride: int) -> None:
    """Whether the loop looks at its results at each step, as on a CPU, or seldom, as on a GPU."""
    sources = each.sources(*texts(24))
    ours = each.engine(Sampling(top_k=1), steps=12, batch_size=batch_size, stride=stride).sample(
        sources, 2, 1, lambda _: None
    )
    expected = generated(each, sources, 0, steps=12)
    assert ours == [[own, own] for [own] in expected]


def test_the_queries_of_a_trained_model_end_where_those_of_generate_do(trained: Tiny) -> None:
    sources = trained.sources(*texts(30, longest=2))
    ours = trained.engine(steps=12).likeliest([source.tokens for source in sources], 12)
    assert ours == [own for [own] in generated(trained, sources, 0, steps=12)]
    assert len({len(own) for own in ours}) > 1


def test_scores_are_those_of_the_model(each: Tiny) -> None:
    pairs = [(source.tokens, [5, 9, 30, 2]) for source in each.sources(*texts(4))]
    for (text, query), own in zip(pairs, each.engine().score(pairs), strict=True):
        rows = log_probabilities(each.model, text, query)
        expected = rows.gather(1, torch.tensor([*query, 1])[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(own), expected, rtol=0, atol=2e-5)


def test_samples_are_spread_as_those_of_generate(trained: Tiny) -> None:
    """Mean length and mean log-probability of some thousand samples, within four standard errors."""
    sources = trained.sources(*texts(40, longest=2))
    engine = trained.engine(steps=12, batch_size=20)
    figures = []
    for samples in (engine.sample(sources, 50, 1, lambda _: None), generated(trained, sources, 50, steps=12)):
        drawn = [(source.tokens, own[:12]) for source, rows in zip(sources, samples, strict=True) for own in rows[::10]]
        scores = [sum(own) / len(own) for own in engine.score(drawn)]
        figures.append((scores, [len(own) for rows in samples for own in rows]))
    for ours, theirs in zip(*figures, strict=True):
        error = (statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs)) ** 0.5
        assert abs(statistics.fmean(ours) - statistics.fmean(theirs)) < 4 * error


def test_samples_depend_on_neither_order_nor_company_nor_batch(trained: Tiny) -> None:
    sources = trained.sources(*dict.fromkeys(texts(20, longest=3)))
    once = dict(zip(sources, trained.engine(batch_size=4).sample(sources, 3, 1, lambda _: None), strict=True))
    shuffled = random.Random(2).sample(sources, 11)
    again = trained.engine(batch_size=7, stride=3).sample(shuffled, 3, 1, lambda _: None)
    assert dict(zip(shuffled, again, strict=True)) == {source: once[source] for source in shuffled}
    # Fewer samples are the first ones; another seed gives others.
    assert trained.engine().sample(sources[:3], 2, 1, lambda _: None) == [once[source][:2] for source in sources[:3]]
    assert trained.engine().sample(sources, 3, 2, lambda _: None) != list(once.values())


def test_samples_of_one_text_differ(tiny: Tiny) -> None:
    [samples] = tiny.engine().sample(tiny.sources("why sleep"), 6, 1, lambda _: None)
    assert len({tuple(own) for own in samples}) == 6
    assert max(map(len, samples)) <= 16


def test_it_goes_on_with_half_the_batch_where_memory_is_short(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is finished is kept, and what was under way is sampled to the same end."""
    sources = tiny.sources(*dict.fromkeys(texts(12)))
    expected = tiny.engine(batch_size=8).sample(sources, 3, 1, lambda _: None)
    engine = tiny.engine(batch_size=8)
    encode, calls = engine.encode, []

    def short_of_memory(batch: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(len(batch))
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(batch)

    monkeypatch.setattr(engine, "encode", short_of_memory)
    counted: list[int] = []
    assert engine.sample(sources, 3, 1, counted.append) == expected
    assert sum(counted) == len(sources)
    assert calls[0] == 8
    assert calls[2] == 4
