from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import orjson
import pytest

from include.index.contract import Metadata, Records
from include.index.pinecone.records import (
    REQUEST_BYTES,
    REQUEST_RECORDS,
    TEXT_BYTES,
    Window,
    cut,
    expression,
    pack,
    unpack,
    windows,
)
from tests.include.index.contract import metadata, random_vectors, records
from tests.standins.pinecone_planes import MAX_METADATA


def sent(window: Window, keys: list[str]) -> bytes:
    """A request as the client sends it."""
    items = [window.items[key] for key in keys]
    vectors = [{"id": key, "values": values.tolist(), "metadata": packed} for key, values, packed in items]
    return orjson.dumps({"vectors": vectors, "namespace": "n" * 40})


@pytest.mark.parametrize("sign", ["x", "ü", "日", "🎧", '"', "\\", "\n", "\x00", "\x1f", "é́"])
def test_metadata_stays_within_the_limit_whatever_the_texts(sign: str) -> None:
    packed = pack(
        Metadata(
            **dict.fromkeys(("title", "show_title", "language", "content_hash", "model_version"), sign * 100_000),
            published_at=datetime(9999, 12, 31, tzinfo=UTC),
        )
    )
    assert len(json.dumps(packed).encode()) <= MAX_METADATA or sign in "🎧é́日ü"
    assert len(orjson.dumps(packed)) <= MAX_METADATA
    title = str(packed["title"])
    assert title
    assert set(title) <= set(sign), "cut between characters"


def test_texts_that_fit_are_kept_as_they_are() -> None:
    given = metadata(title="Über 日本 🎧 \n", language=None, published_at=datetime(1969, 7, 20, 20, 17, tzinfo=UTC))
    assert unpack(pack(given)) == given
    assert "language" not in pack(given), "Pinecone takes no null"
    assert cut("x" * TEXT_BYTES) == "x" * TEXT_BYTES
    assert cut("\ud800") == "?", "what UTF-8 cannot write is replaced"


def test_a_filter_finds_a_text_that_was_cut() -> None:
    title = "ü" * 5_000
    assert expression({"title": title}) == {"title": {"$eq": pack(metadata(title=title))["title"]}}
    assert expression({}) is None
    assert expression(None) is None


@pytest.mark.parametrize("dimension", [8, 384, 1024])
@pytest.mark.parametrize("title", ["short", '"' * 5_000])
def test_the_largest_request_is_within_the_limit(dimension: int, title: str) -> None:
    batch = records([f"{number:036d}" for number in range(1_500)], random_vectors(1_500, dimension=dimension))
    (window,) = windows([batch, records(["y" * 512], random_vectors(1, dimension=dimension), title=title)])
    keys = list(window.items)
    assert window.batch_size <= REQUEST_RECORDS
    assert len(sent(window, keys[-window.batch_size :])) <= REQUEST_BYTES
    if dimension == 384 and title == "short":
        assert len(sent(window, keys[: window.batch_size])) > 0.75 * REQUEST_BYTES, "and no smaller than need be"


def test_vectors_lose_nothing_that_counts() -> None:
    values = random_vectors(100, dimension=384)
    (window,) = windows([records([str(number) for number in range(100)], values)])
    back = np.stack([np.asarray(value, np.float32) for _, value, _ in window.items.values()])
    assert np.abs(back - values).max() < 1e-9


def test_batches_are_joined_up_to_a_size() -> None:
    batches = [records([f"{number}-{part}" for part in range(10)], random_vectors(10)) for number in range(10)]
    (one,) = windows(batches)
    assert (one.rows, len(one.items)) == (100, 100)
    parts = list(windows(batches, size=one.bytes // 4))
    assert [part.rows for part in parts] == [30, 30, 30, 10]
    assert list(windows([])) == []


def test_the_last_of_an_id_counts() -> None:
    first, second = random_vectors(2)
    (window,) = windows([Records(["a"], row[None], [metadata()]) for row in (first, second)])
    assert (window.rows, list(window.items)) == (2, ["a"])
    assert np.allclose(window.items["a"][1], second)
