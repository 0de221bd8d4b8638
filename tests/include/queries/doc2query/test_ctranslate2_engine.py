from __future__ import annotations

import random
import statistics
from pathlib import Path

import pytest

from include.queries.doc2query import ctranslate2_engine
from include.queries.doc2query.conversion import convert
from include.queries.doc2query.ctranslate2_engine import CTranslate2Engine
from include.queries.doc2query.engine import TokenizedText
from include.queries.doc2query.sampling import Sampling
from tests.include.queries.doc2query.conftest import Tiny
from tests.include.queries.doc2query.test_torch_engine import texts

USUAL = Sampling()


@pytest.fixture(scope="session")
def folder(trained: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(trained.model, tmp_path_factory.mktemp("converted") / "model", kind="float32")


def engine(
    folder: Path,
    sampling: Sampling = USUAL,
    *,
    threads: int = 1,
    batch_size: int = 4,
) -> CTranslate2Engine:
    return CTranslate2Engine(
        folder, kind="float32", sampling=sampling, steps=12, device="cpu", threads=threads, batch_size=batch_size
    )


def test_a_repeated_call_gives_the_same_whatever_the_order_and_the_threads(
    trained: Tiny, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctranslate2_engine, "UNIT", 5)
    sources = trained.sources(*dict.fromkeys(texts(23, longest=3)))
    once = dict(zip(sources, engine(folder).sample(sources, 3, 1, lambda _: None), strict=True))
    for threads in (1, 3):
        random.Random(threads).shuffle(sources)
        again = engine(folder, threads=threads).sample(sources, 3, 1, lambda _: None)
        assert dict(zip(sources, again, strict=True)) == once
    assert engine(folder).sample(list(once), 3, 2, lambda _: None) != list(once.values())


def test_units_draw_different_numbers(trained: Tiny, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctranslate2_engine, "UNIT", 1)
    [tokens] = {source.tokens for source in trained.sources("sleep night bed dream tired.")}
    samples = engine(folder).sample([TokenizedText(str(n), tokens) for n in range(6)], 3, 1, lambda _: None)
    assert len({str(own) for own in samples}) > 3


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.5), Sampling(temperature=2.0, top_p=0.7)])
def test_samples_are_spread_as_those_of_the_other_engine(trained: Tiny, folder: Path, sampling: Sampling) -> None:
    """Mean length and mean log-probability of some thousand samples, within four standard errors."""
    sources = trained.sources(*texts(32, longest=2))
    reference = trained.engine(sampling, steps=12, batch_size=20)
    figures = []
    for one in (reference, engine(folder, sampling, batch_size=16)):
        samples = one.sample(sources, 50, 1, lambda _: None)
        drawn = [(source.tokens, own) for source, rows in zip(sources, samples, strict=True) for own in rows[::10]]
        scores = [sum(own) / len(own) for own in engine(folder).score(drawn)]
        figures.append((scores, [len(own) for rows in samples for own in rows]))
    for ours, theirs in zip(*figures, strict=True):
        error = (statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs)) ** 0.5
        assert abs(statistics.fmean(ours) - statistics.fmean(theirs)) < 4 * error


def test_texts_without_tokens_and_samples_without_words_do_no_harm(folder: Path) -> None:
    assert engine(folder).sample([], 3, 1, lambda _: None) == []
    [samples] = engine(folder).sample([TokenizedText("empty", (1,))], 2, 1, lambda _: None)
    assert len(samples) == 2
