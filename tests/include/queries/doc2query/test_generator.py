from __future__ import annotations

import random
from pathlib import Path

import pytest

from include.queries.contract import GeneratorSpec, Passage
from include.queries.doc2query import open_engine
from include.queries.doc2query.engine import GeneratorModelError
from include.queries.doc2query.generator import Doc2QueryGenerator
from include.queries.opening import create_generator
from tests.include.queries.doc2query.conftest import Tiny
from tests.models import TOPICS


def passages(count: int = 24) -> list[Passage]:
    chance = random.Random(4)
    found = []
    for number in range(count):
        words = TOPICS[chance.choice(sorted(TOPICS))]
        title, description = chance.choice(words), " ".join(chance.sample(words, 4))
        found.append(Passage(f"e{number}", title, description, "about night"))
    return found


@pytest.fixture(params=["torch", "ctranslate2"])
def generator(request: pytest.FixtureRequest, trained: Tiny, tmp_path: Path) -> Doc2QueryGenerator:
    spec = GeneratorSpec(name="doc2query", model=trained.source.name, engine=request.param, max_output_tokens=12)
    return Doc2QueryGenerator(spec, device="cpu", threads=1, cache=tmp_path)


def test_queries_are_about_their_passages(generator: Doc2QueryGenerator) -> None:
    episodes = passages()
    hits = total = 0
    assert generator.tokens == 0
    for passage, queries in zip(episodes, generator.generate(episodes, 3, 1), strict=True):
        assert len({query.text.casefold() for query in queries}) == len(queries) <= 3
        for query in queries:
            assert (query.origin, query.positive) == ("doc2query", passage.text())
            assert query.text == " ".join(query.text.split())
            words = set(query.text.split()) & {word for topic in TOPICS.values() for word in topic}
            hits += len(words & set(passage.text().lower().replace(".", "").split()))
            total += len(words)
    assert hits > 0.5 * total > 10
    assert total <= generator.tokens <= 12 * 3 * len(episodes), "those of repeated queries, too"


def test_a_retried_shard_ends_in_the_same_queries(generator: Doc2QueryGenerator) -> None:
    episodes = passages()
    once = dict(zip(episodes, generator.generate(episodes, 3, 1), strict=True))
    shuffled = random.Random(1).sample(episodes, len(episodes))
    assert dict(zip(shuffled, generator.generate(shuffled, 3, 1), strict=True)) == once
    assert generator.generate(episodes, 3, 2) != list(once.values())


def test_a_passage_without_words_gets_no_queries(generator: Doc2QueryGenerator) -> None:
    [none, some] = generator.generate([Passage("a", "🎉", "…", ""), passages(1)[0]], 2, 1)
    assert none == []
    assert some
    assert generator.generate([], 3, 1) == []


def test_a_long_passage_is_cut(generator: Doc2QueryGenerator) -> None:
    """What stands behind the last token that is read changes nothing."""
    long = "sleep night bed dream " * 200
    texts = [Passage("a", "sleep", long + end, "show") for end in ("tired", "soup onion")]
    assert [query.text for query in generator.generate(texts[:1], 3, 1)[0]] == [
        query.text for query in generator.generate(texts[1:], 3, 1)[0]
    ]


def test_a_model_that_is_not_there_is_no_matter_until_passages_come(tmp_path: Path) -> None:
    missing = create_generator(GeneratorSpec(name="doc2query", model=str(tmp_path)), device="cpu")
    assert missing.chunk
    assert missing.generate([], 3, 1) == []
    with pytest.raises(GeneratorModelError, match="safetensors"):
        missing.generate(passages(1), 3, 1)


def test_a_converted_model_is_compared_once(trained: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = GeneratorSpec(name="doc2query", model=trained.source.name, max_output_tokens=12)
    first = create_generator(spec, device="cpu", threads=1, cache=tmp_path).generate(passages(3), 2, 1)
    assert len(list(tmp_path.glob("*/parity-*.json"))) == 1
    monkeypatch.setattr(open_engine, "load_model", lambda _: pytest.fail("the model was loaded again"))
    again = create_generator(spec, device="cpu", threads=1, cache=tmp_path).generate(passages(3), 2, 1)
    assert again == first


def test_an_engine_that_computes_something_else_is_refused(
    trained: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from include.queries.doc2query import conversion

    monkeypatch.setattr(conversion, "scales_output", lambda config: config.tie_word_embeddings)
    spec = GeneratorSpec(name="doc2query", model=trained.source.name, engine="ctranslate2")
    for _ in range(2):  # nothing of the first check makes the second one pass
        with pytest.raises(GeneratorModelError, match="PODSEARCH_GENERATOR_ENGINE=torch"):
            create_generator(spec, device="cpu", threads=1, cache=tmp_path).generate(passages(3), 2, 1)


def test_the_engine_follows_from_the_device() -> None:
    names = {device: open_engine.engine_name(GeneratorSpec(), device) for device in ("cpu", "cuda")}
    assert names == {"cpu": "ctranslate2", "cuda": "torch"}
    assert open_engine.engine_name(GeneratorSpec(engine="torch"), "cpu") == "torch"
