from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import orjson
import pytest

from include.errors import PermanentError
from include.index.contract import TEXT_FILTERS, Length, Metadata, Records
from include.index.pinecone import records as records_module
from include.index.pinecone.records import (
    REQUEST_BYTES,
    REQUEST_RECORDS,
    SHOWN,
    TEXT_BYTES,
    Request,
    cut,
    expression,
    pack,
    requests,
    unpack,
)
from tests.include.index.contract import metadata, random_vectors, records
from tests.standins.pinecone_planes import MAX_METADATA


def sent(request: Request) -> bytes:
    """A request as the client sends it."""
    return orjson.dumps({"documents": list(request.items.values())})


@pytest.mark.parametrize("sign", ["x", "ü", "日", "🎧", '"', "\\", "\n", "\x00", "\x1f", "é́"])
def test_metadata_stays_within_the_limit_whatever_the_texts(sign: str) -> None:
    long = sign * 100_000
    packed = pack(
        Metadata(
            title=long,
            show_title=long,
            language=long,
            content_hash=long,
            model_version=long,
            podcast_id=long,
            categories=long,
            audio_url=cut(long, TEXT_BYTES["audio_url"]),
            duration_seconds=2**31,
            published_at=datetime(9999, 12, 31, tzinfo=UTC),
        )
    )
    assert packed.keys() == {*SHOWN} - {"description"}, "which has a limit of its own"
    assert len(orjson.dumps(packed)) <= MAX_METADATA
    title = str(packed["title"])
    assert title
    assert set(title) <= set(sign), "cut between characters"


def test_texts_that_fit_are_kept_as_they_are() -> None:
    moment = datetime(1969, 7, 20, 20, 17, tzinfo=UTC)
    given = metadata(title="Über 日本 🎧 \n", language=None, published_at=moment, description="", duration_seconds=0)
    assert unpack(pack(given)) == given
    assert "language" not in pack(given), "Pinecone takes no null"
    assert unpack(orjson.loads(orjson.dumps(pack(given) | {"duration_seconds": 61.0}))).duration_seconds == 61
    assert cut("x" * 1_024, 1_024) == "x" * 1_024
    assert cut("\ud800", 1_024) == "?", "what UTF-8 cannot write is replaced"
    assert unpack(pack(metadata(description="\ud800"))).description == "?"


def test_a_filter_finds_a_text_that_was_cut() -> None:
    title = "ü" * 5_000
    assert expression({"title": title}) == {"title": {"$eq": pack(metadata(title=title))["title"]}}
    assert expression({}) is None
    assert expression(None) is None


def test_every_filter_of_the_contract_is_one_of_pinecones() -> None:
    assert {name for name in TEXT_FILTERS if expression({name: "x"}) == {name: {"$eq": "x"}}} == {*TEXT_FILTERS}
    assert expression({"duration_seconds": Length(60, 120)}) == {"duration_seconds": {"$gte": 60, "$lt": 120}}
    assert expression({"duration_seconds": Length(shortest=0)}) == {"duration_seconds": {"$gte": 0}}
    for name, value in (("duration_seconds", "60"), ("title", Length(60)), ("audio_url", "x"), ("description", "x")):
        with pytest.raises(ValueError, match="no filter by"):
            expression({name: value})


@pytest.mark.parametrize("dimension", [8, 384, 1024])
@pytest.mark.parametrize("title", ["short", '"' * 5_000])
def test_every_request_is_within_the_limits(dimension: int, title: str) -> None:
    batch = records([f"{number:036d}" for number in range(1_500)], random_vectors(1_500, dimension=dimension))
    made = list(requests([batch, records(["y" * 512], random_vectors(1, dimension=dimension), title=title)]))
    for request in made:
        assert len(request.items) <= REQUEST_RECORDS
        assert len(sent(request)) <= request.bytes <= REQUEST_BYTES
    assert [key for request in made for key in request.items] == [*batch.ids, "y" * 512]
    for full in made[:-1]:
        assert len(full.items) == REQUEST_RECORDS or len(sent(full)) > 0.9 * REQUEST_BYTES, "no smaller than need be"


def test_vectors_lose_nothing_that_counts() -> None:
    values = random_vectors(100, dimension=384)
    (request,) = requests([records([str(number) for number in range(100)], values)])
    back = np.stack([request.stored(key).values for key in request.items])
    assert np.abs(back.astype(float) @ values[:10].T - values.astype(float) @ values[:10].T).max() < 2e-7
    assert np.abs(back - values).max() < 1e-7


def test_batches_are_joined_and_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [records([f"{number}-{part}" for part in range(10)], random_vectors(10)) for number in range(10)]
    (one,) = requests(batches)
    assert (one.rows, len(one.items)) == (100, 100)
    monkeypatch.setattr(records_module, "REQUEST_RECORDS", 32)
    assert [part.rows for part in requests(batches)] == [32, 32, 32, 4]
    monkeypatch.setattr(records_module, "REQUEST_BYTES", 1)
    assert [part.rows for part in requests(batches[:1])] == [1] * 10, "what is too large by itself is sent by itself"
    assert list(requests([])) == []


def test_the_last_of_an_id_counts() -> None:
    first, second = random_vectors(2)
    (request,) = requests([Records(["a"], row[None], [metadata()]) for row in (first, second)])
    assert (request.rows, list(request.items)) == (2, ["a"])
    assert np.allclose(request.stored("a").values, second, atol=1e-6)


def test_what_is_stored_is_known_before() -> None:
    (request,) = requests([Records(["a"], random_vectors(1), [metadata(language=None)])])
    assert request.stored("a").metadata == metadata(language=None)


@pytest.mark.parametrize("key", ["日本", "a\0b"])
def test_an_id_that_pinecone_does_not_take_is_refused(key: str) -> None:
    with pytest.raises(PermanentError, match="ASCII"):
        list(requests([records(["a", key], random_vectors(2))]))
