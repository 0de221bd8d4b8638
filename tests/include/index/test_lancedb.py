from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from include.index import lancedb as module
from include.index.contract import EpisodeIndex, IndexMismatchError, Vectors
from include.index.lancedb import LanceIndex
from include.settings import PROJECT
from tests.include.index.contract import (
    DIMENSION,
    EpisodeIndexContract,
    axis,
    ids_of,
    metadata,
    random_vectors,
    records,
)
from tests.standins.s3 import S3StandIn

WIDTH = 32


class TestLanceIndex(EpisodeIndexContract):
    """The embedded backend keeps the contract by exact search."""

    @pytest.fixture
    def index(self, tmp_path: Path) -> EpisodeIndex:
        return LanceIndex(str(tmp_path / "index"))


class TestApproximateLanceIndex(EpisodeIndexContract):
    """And by approximate search: every namespace that is finished gets an index."""

    @pytest.fixture
    def index(self, tmp_path: Path) -> EpisodeIndex:
        return LanceIndex(str(tmp_path / "index"), exact_rows=2)


def test_on_s3_processes_that_write_at_once_lose_nothing(s3: S3StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each commit is a conditional put: one that comes second is made anew upon the first."""
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    index = LanceIndex(f"s3://bucket/{uuid.uuid4().hex}")
    index.create("ns", DIMENSION)
    code = (
        "import sys\n"
        "from include.index.lancedb import LanceIndex\n"
        "from tests.include.index.contract import random_vectors, records\n"
        "index, own = LanceIndex(sys.argv[1]), sys.argv[2]\n"
        "for number in range(4):\n"
        "    ids = [f'{own}-{number}', f'shared-{number}']\n"
        "    index.upsert('ns', [records(ids, random_vectors(2))])\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, index.name, str(number)], cwd=PROJECT) for number in range(3)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    own = {f"{writer}-{number}" for writer in range(3) for number in range(4)}
    assert sorted(index.list_ids("ns")) == sorted(own | {f"shared-{number}" for number in range(4)})


def clustered(count: int, *, seed: int) -> Vectors:
    """Vectors as episodes have them: close to those of the same subject, far from the others."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, WIDTH))
    values = centres[rng.integers(40, size=count)] + 0.4 * rng.normal(size=(count, WIDTH))
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def recall(index: LanceIndex, values: dict[str, Vectors], queries: Vectors, k: int = 30) -> float:
    names, matrix = list(values), np.stack(list(values.values()))
    shares = []
    for query, hits in zip(queries, index.search_vectors("ns", queries, k), strict=True):
        best = {names[row] for row in np.argsort(-(matrix @ query))[:k]}
        assert len(hits) == k
        shares.append(len(best.intersection(ids_of(hits))) / k)
    return float(np.mean(shares))


@pytest.fixture(params=["IVF_HNSW_SQ", "IVF_SQ"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the approximate indexes, as they are at many times the size: of many parts, of which few are probed."""
    monkeypatch.setattr(module, "PARTITION_ROWS", 50)
    monkeypatch.setattr(module, "LEAST_PROBES", 4)
    return str(request.param)


def test_search_is_exact_up_to_a_size_and_approximate_above(tmp_path: Path, kind: str) -> None:
    """Through its whole life a namespace answers nearly as exact search would, and from what it holds now."""
    index = LanceIndex(str(tmp_path), exact_rows=300, hnsw_rows=1000 if kind == "IVF_HNSW_SQ" else 300)
    index.create("ns", WIDTH)
    held: dict[str, Vectors] = {}
    queries = clustered(50, seed=1)

    def upsert(first: int, count: int, *, seed: int) -> None:
        names = [f"e{number:04d}" for number in range(first, first + count)]
        own = clustered(count, seed=seed)
        index.upsert("ns", [records(names, own)])
        held.update(zip(names, own, strict=True))

    upsert(0, 300, seed=2)
    index.finish("ns")
    assert index.kind("ns") == "exact"
    assert recall(index, held, queries) == 1.0

    upsert(300, 700, seed=3)
    assert recall(index, held, queries) == 1.0, "still exact, for there is no index yet"
    index.finish("ns")
    assert (index.kind("ns"), index.count("ns")) == (kind, 1000)
    assert recall(index, held, queries) >= 0.95

    upsert(950, 100, seed=4)
    gone = [f"e{number:04d}" for number in range(0, 200)]
    index.delete("ns", gone)
    for name in gone:
        del held[name]
    for finished in (False, True):
        if finished:
            index.finish("ns")
            assert index.count("ns") == len(held)
        assert index.count("ns") == 850
        assert recall(index, held, queries) >= 0.95
        new = index.search_vectors("ns", np.stack([held[f"e{number:04d}"] for number in range(950, 1050)]), 1)
        assert [hits[0].episode_id for hits in new] == [f"e{number:04d}" for number in range(950, 1050)]
        assert all(hits[0].score == pytest.approx(1.0, abs=1e-4) for hits in new)
        found = {key for hits in index.search_vectors("ns", queries, 200) for key in ids_of(hits)}
        assert not found.intersection(gone)


def test_a_filter_finds_the_few_among_many(tmp_path: Path, kind: str) -> None:
    """An approximate index that filters afterwards would give too few, or none."""
    index = LanceIndex(str(tmp_path), exact_rows=300, hnsw_rows=1000 if kind == "IVF_HNSW_SQ" else 300)
    index.create("ns", WIDTH)
    index.upsert("ns", [records([f"e{number:04d}" for number in range(990)], clustered(990, seed=2))])
    index.upsert("ns", [records([f"t{number}" for number in range(10)], clustered(10, seed=3), language="Thai")])
    index.finish("ns")
    assert index.kind("ns") == kind
    for hits in index.search_vectors("ns", clustered(20, seed=4), 10, {"language": "Thai"}):
        assert sorted(ids_of(hits)) == [f"t{number}" for number in range(10)]


def test_another_process_sees_what_was_written(tmp_path: Path) -> None:
    """Tasks are processes of their own; search is too, and stays open while the index is written to."""
    reader, writer = LanceIndex(str(tmp_path)), LanceIndex(str(tmp_path))
    writer.create("ns", DIMENSION)
    writer.upsert("ns", [records("ab", axis(0, 1))])
    assert ids_of(reader.search_vectors("ns", axis(0), 1)[0]) == ["a"]
    writer.upsert("ns", [records("c", axis(0))])
    writer.delete("ns", ["a"])
    writer.finish("ns")
    assert ids_of(reader.search_vectors("ns", axis(0), 1)[0]) == ["c"]


def test_an_id_is_there_once_though_two_processes_write_it_at_once(tmp_path: Path) -> None:
    """A task that was given up for dead may still write beside its second try; no upsert would mend twins."""
    names = [f"e{number}" for number in range(50)]
    LanceIndex(str(tmp_path)).create("ns", DIMENSION)
    start = threading.Barrier(4)

    def write(seed: int) -> None:
        index = LanceIndex(str(tmp_path))
        start.wait()
        index.upsert("ns", [records(names, random_vectors(50, seed=seed))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert sorted(LanceIndex(str(tmp_path)).list_ids("ns")) == sorted(names)


def test_a_namespace_of_an_earlier_release_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ids are no declared key; it can be written to all the same."""
    index = LanceIndex(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(module, "KEY", None)
        index.create("ns", DIMENSION)
        index.upsert("ns", [records("ab", axis(0, 1))])
    index.create("ns", DIMENSION)
    index.upsert("ns", [records("bc", axis(2, 3))])
    assert sorted(index.list_ids("ns")) == ["a", "b", "c"]
    assert np.allclose(index.fetch("ns", ["b"])["b"].values, axis(2)[0])


def test_a_namespace_of_the_first_format_is_still_searched(tmp_path: Path) -> None:
    """It has no words, and less to show, until the next run replaces it."""
    index = LanceIndex(str(tmp_path))
    index.create("new", DIMENSION)
    index.upsert("new", [records("ab", axis(0, 1), description="Long")])
    table = index._database.open_table("new").to_arrow()
    first = ["id", "vector", "title", "show_title", "language", "published_at", "content_hash", "model_version"]
    index._database.create_table("old", table.select(first))
    (hits,) = index.search_vectors("old", axis(1), 1, {"language": "English"})
    assert (hits[0].episode_id, hits[0].metadata) == ("b", metadata())
    assert index.fetch("old", ["a"])["a"].metadata == metadata()
    assert index.search_words("old", ["long", "title"], 3) == [[], []]
    assert index.search_vectors("old", axis(1), 1, {"podcast_id": "p1"}) == [[]], "nothing is known of it"
    index.finish("old")
    assert index.count("old") == 2


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("full width", "ＦＵＬＬ ＷＩＤＴＨ"),
        ("cafe", "Café"),
        ("CAFÉ", "cafe\u0301"),
        ("viet nam", "Việt Nam"),
        ("running", "She runs"),
    ],
)
def test_words_are_compared_without_regard_to_how_they_are_written(tmp_path: Path, query: str, title: str) -> None:
    index = LanceIndex(str(tmp_path))
    index.create("ns", DIMENSION)
    index.upsert("ns", [records("a", axis(0), title=title), records("b", axis(1), title="Something else")])
    index.finish("ns")
    assert ids_of(index.search_words("ns", [query], 1)[0]) == ["a"]


@pytest.mark.parametrize("left_behind", [".", "_versions", "_transactions"])
def test_a_namespace_whose_creation_was_killed_is_made_anew(tmp_path: Path, left_behind: str) -> None:
    (tmp_path / "ns.lance" / left_behind).mkdir(parents=True, exist_ok=True)
    index = LanceIndex(str(tmp_path))
    index.create("ns", DIMENSION)
    index.upsert("ns", [records("a", axis(0))])
    assert index.count("ns") == 1


def test_a_namespace_whose_creation_was_killed_can_be_dropped(tmp_path: Path) -> None:
    (tmp_path / "ns.lance").mkdir()
    index = LanceIndex(str(tmp_path))
    index.drop("ns")
    assert index.namespaces() == []


def test_the_mismatch_tells_both_dimensions(tmp_path: Path) -> None:
    index = LanceIndex(str(tmp_path))
    index.create("ns", DIMENSION)
    with pytest.raises(IndexMismatchError, match="holds vectors of 8 dimensions"):
        index.search_vectors("ns", random_vectors(1, dimension=3), 1)
    with pytest.raises(IndexMismatchError, match=r"ns takes 8 dimensions.*\(1, 3\)"):
        index.upsert("ns", [records("a", random_vectors(1, dimension=3))])
