"""A million vectors through the upsert path: time, memory, and the quality of search afterwards.

Vectors of 384 dimensions are drawn around some thousand centres, in batches like a shard's records, and written to the
embedded index (``lancedb``), or to the stand-in for Pinecone in a separate process (``pinecone``; the article's loop
writes some first, for comparison). The embedded index is then asked one query at a time, and its answers are compared
with exact search, which draws the same vectors again. Writing and searching are separate processes. ``make
bench-vectors``, or ``python -m benchmarks.vectors --help``. The last line printed is one JSON object with all figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.pinecone_server import INDEX, Server, served
from benchmarks.processes import run
from include.index.contract import EpisodeIndex, Metadata, Records, Vectors

if TYPE_CHECKING:
    from include.index.contract import Hit

PROJECT = Path(__file__).resolve().parents[1]
BACKENDS = ["lancedb", "pinecone"]
VECTORS = 1_000_000
DIMENSION = 384
DAYS = [datetime(2017, 12, day, tzinfo=UTC) for day in range(1, 32)]
CENTRES = 4_000
SPREAD = 0.5
"""Length of what is added to a centre at random: two vectors of one centre have a cosine of about 0.8, as the nearest
of real episodes have. Without centres there would be no neighbours to find."""
BATCH = 2_000
"""As :data:`include.index.write.UPSERT_BATCH`."""
ARTICLE_BATCH = 64
ARTICLE_VECTORS = 3_200
"""What the article's loop writes, which is enough to tell its rate."""
K = 30
NAMESPACE = "vectors"
PEAK_MIB = 2_048
"""The most memory that writing may take."""
SEED = 20171201


@dataclass(frozen=True)
class Job:
    """What is measured: how many vectors and queries, and where they are written."""

    backend: str
    vectors: int
    queries: int
    location: str
    server: Server | None

    def index(self) -> EpisodeIndex:
        if self.server is None:
            from include.index.lancedb import LanceIndex

            return LanceIndex(self.location)
        from include.index.pinecone.index import PineconeIndex

        return PineconeIndex(INDEX, self.server.credentials)


def write(job: Job) -> dict[str, Any]:
    """Write all vectors, and bring the index into the state it is searched in."""
    index = job.index()
    index.create(NAMESPACE, DIMENSION)
    article = _article(job) if job.server else None
    progress: list[float] = []
    before = job.server.cpu_seconds() if job.server else 0.0
    started, started_cpu = time.perf_counter(), time.process_time()
    index.upsert(NAMESPACE, _noting(_batches(job.vectors), progress))
    upserted, upserted_cpu = time.perf_counter() - started, time.process_time() - started_cpu
    server_cpu = job.server.cpu_seconds() - before if job.server else 0.0
    index.finish(NAMESPACE)
    finished = time.perf_counter() - started - upserted
    assert index.count(NAMESPACE) == job.vectors
    tenth = max(1, len(progress) // 10)
    figures = {
        "upsert_seconds": upserted,
        "upsert_cpu_seconds": upserted_cpu,
        "server_cpu_seconds": server_cpu,
        "vectors_per_second": job.vectors / upserted,
        "first_tenth_seconds": progress[tenth - 1] - started,
        "last_tenth_seconds": started + upserted - progress[-tenth],
        "drawing_seconds": _drawing(job.vectors),
        "finish_seconds": finished,
        "kind": index.kind(NAMESPACE),
    }
    if article is not None:
        figures |= {"article_vectors_per_second": article, "ratio": job.vectors / upserted / article}
    return figures


def search(job: Job) -> dict[str, Any]:
    """Ask one query at a time; how long each took, and how much of exact search's answers came."""
    index = job.index()
    queries = _queries(job.queries)
    index.search_vectors(NAMESPACE, queries[:1], K)
    seconds: list[float] = []
    answers: list[list[Hit]] = []
    for query in queries:
        started = time.perf_counter()
        answers += index.search_vectors(NAMESPACE, query[None], K)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    least = _least_scores(job.vectors, queries)
    exact = time.perf_counter() - started
    # As include.index.recall counts: equal scores are equally right.
    shares = [sum(hit.score >= floor - 1e-4 for hit in hits) / K for hits, floor in zip(answers, least, strict=True)]
    return {
        "queries": len(queries),
        "p50_ms": 1000 * float(np.percentile(seconds, 50)),
        "p99_ms": 1000 * float(np.percentile(seconds, 99)),
        "recall_at_30": float(np.mean(shares)),
        "nearest_cosine": float(np.mean([hits[0].score for hits in answers])),
        "exact_seconds": exact,
    }


MEASURED: dict[str, Callable[[Job], dict[str, Any]]] = {"write": write, "search": search}
"""What runs in a process of its own, by name."""


def main() -> None:
    arguments = _arguments()
    if arguments.measure:
        print(json.dumps(MEASURED[arguments.measure](_read(arguments.job))))
        return
    with tempfile.TemporaryDirectory(prefix="bench-vectors-", dir=arguments.folder) as folder:
        figures: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "backends": {}}
        for backend in arguments.backends:
            work = Path(folder) / backend
            work.mkdir()
            figures["backends"][backend] = _compare(work, backend, arguments)
        figures["met"] = all(one["write"]["peak_mib"] < PEAK_MIB for one in figures["backends"].values())
        print(json.dumps(figures))


def _compare(work: Path, backend: str, arguments: argparse.Namespace) -> dict[str, Any]:
    vectors = arguments.vectors
    if backend == "pinecone":
        with served(arguments.latency / 1000) as server:
            job = Job(backend, vectors, arguments.queries, "", server)
            return {"vectors": vectors, "write": _measure("write", work, job)}
    job = Job(backend, vectors, arguments.queries, str(work / "index"), None)
    return {"vectors": vectors, "write": _measure("write", work, job), "search": _measure("search", work, job)}


def _measure(name: str, work: Path, job: Job) -> dict[str, Any]:
    path = work / "job.json"
    path.write_text(json.dumps(vars(job) | {"server": vars(job.server) if job.server else None}))
    usage, printed = run(
        [sys.executable, "-m", "benchmarks.vectors", "--measure", name, "--job", str(path)], cwd=PROJECT
    )
    measured = json.loads(printed) | {"peak_mib": usage.peak_mib, "cpu_seconds": usage.cpu}
    shown = {key: round(value, 3) if isinstance(value, float) else value for key, value in measured.items()}
    print(f"{job.backend}, {name}: {', '.join(f'{key} {value}' for key, value in shown.items())}", flush=True)
    return shown


def _read(path: Path) -> Job:
    given = json.loads(path.read_text())
    return Job(**given | {"server": Server(**given["server"]) if given["server"] else None})


def _article(job: Job) -> float:
    """Vectors a second of the article's loop: 64 as lists, without metadata; wait; next."""
    assert job.server is not None
    index = job.server.article_index(DIMENSION)
    values = np.concatenate([draw(number) for number in range(-(-ARTICLE_VECTORS // BATCH))])[:ARTICLE_VECTORS]
    started = time.perf_counter()
    for start in range(0, len(values), ARTICLE_BATCH):
        vectors = values[start : start + ARTICLE_BATCH].tolist()
        ids = [str(start + row) for row in range(len(vectors))]
        index.upsert(vectors=list(zip(ids, vectors, strict=True)), namespace="article")
    return len(values) / (time.perf_counter() - started)


def _batches(vectors: int) -> Iterator[Records]:
    """The records, drawn as they are taken."""
    for number in range(-(-vectors // BATCH)):
        values = draw(number)[: vectors - number * BATCH]
        metadata = [
            Metadata(
                title=f"Episode {row} of a show that has a title of usual length",
                show_title=f"Show {row % 97}",
                language="English",
                published_at=DAYS[row % len(DAYS)],
                content_hash=f"{number:016x}{row:016x}",
                model_version="benchmark",
            )
            for row in range(len(values))
        ]
        # As ids of a real catalogue are: in no order.
        prefixes = np.random.default_rng([SEED, number, 1]).integers(0, 2**62, len(values))
        yield Records([f"{prefix:016x}{number:08x}{row:08x}" for row, prefix in enumerate(prefixes)], values, metadata)


def draw(number: int) -> Vectors:
    """The vectors of one batch, the same each time."""
    return _around(np.random.default_rng([SEED, number]), BATCH)


def _queries(count: int) -> Vectors:
    return _around(np.random.default_rng([SEED, 0, 2]), count)


def _around(random: np.random.Generator, count: int) -> Vectors:
    """Unit vectors around centres, shape (count, dimension)."""
    values = _centres()[random.integers(0, CENTRES, count)]
    values += random.standard_normal((count, DIMENSION), np.float32) * np.float32(SPREAD / DIMENSION**0.5)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


@cache
def _centres() -> Vectors:
    values = np.random.default_rng(SEED).standard_normal((CENTRES, DIMENSION), np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def _noting(batches: Iterator[Records], moments: list[float]) -> Iterator[Records]:
    """The batches; when each was asked for."""
    for batch in batches:
        moments.append(time.perf_counter())
        yield batch


def _drawing(vectors: int) -> float:
    """Seconds that making the batches takes, which the time of the upsert has in it; from the first of them."""
    some = min(vectors, 5 * BATCH)
    started = time.perf_counter()
    for _ in _batches(some):
        pass
    return (time.perf_counter() - started) * vectors / some


def _least_scores(vectors: int, queries: Vectors) -> Vectors:
    """The cosine of each query's K-th nearest vector, by exact search one batch at a time; shape (q,)."""
    best = np.full((len(queries), K), -1.0, np.float32)
    for number in range(-(-vectors // BATCH)):
        values = draw(number)[: vectors - number * BATCH]
        both = np.concatenate([best, queries @ values.T], axis=1)
        best = -np.partition(-both, K - 1, axis=1)[:, :K]
    return np.asarray(best.min(axis=1), np.float32)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vectors", description=__doc__)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS, help="(%(default)s)")
    parser.add_argument("--vectors", type=int, default=VECTORS, help="(%(default)s)")
    parser.add_argument("--queries", type=int, default=200, help="asked of the embedded index (%(default)s)")
    parser.add_argument("--latency", type=float, default=50, help="of the stand-in, milliseconds (%(default)s)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for 10 GB (%(default)s)")
    parser.add_argument("--measure", choices=list(MEASURED), help=argparse.SUPPRESS)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
