"""What a query costs: hybrid search against vectors alone, including the query's own embedding.

A catalogue is ingested and written to the embedded index with its real words and, because search time does not depend
on what is near what, with vectors drawn around some thousand centres. The search service is then queried by one client
and by several at once, in each mode in turn; then over HTTP, also at twice its capacity. ``make bench-search``, or
``python -m benchmarks.search --help``. The last line printed is one JSON object with all figures.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import psutil

from benchmarks.catalogue import SETTINGS, make_snapshot, write_catalogue
from benchmarks.service import OVERLOAD, overloaded, served
from benchmarks.service import asked as over
from benchmarks.vectors import draw
from include.index.contract import Metadata, Records

if TYPE_CHECKING:
    import pyarrow as pa

    from include.search.service import SearchService

QUERIES = Path(__file__).parent / "queries" / "version-1.csv"
Compared = Literal["dense", "hybrid"]
K = 10
BATCH = 2_000


def main() -> None:
    arguments = _arguments()
    os.environ |= {"TOKENIZERS_PARALLELISM": "false"}
    with QUERIES.open(encoding="utf-8") as file:
        queries = [row["query"] for row in csv.DictReader(file)]
    with tempfile.TemporaryDirectory(prefix="bench-search-") as temporary:
        home = Path(temporary)
        dataset = arguments.dataset or write_catalogue(
            home / "dataset", episodes=arguments.episodes, shows=max(1, arguments.episodes // 7)
        )
        service, figures = build(home, dataset, arguments.model)
        for clients in arguments.clients:
            for mode in get_args(Compared):
                own = asked(service, queries, mode, clients=clients, seconds=arguments.seconds)
                print(f"{mode}, {clients} at once: {own}", flush=True)
                figures[f"{mode}_{clients}"] = own
        for name, own in over_http(home, queries, arguments.clients, arguments.seconds).items():
            print(f"over HTTP, {name}: {own}", flush=True)
            figures[f"http_{name}"] = own
        figures["memory_mib"] = round(psutil.Process().memory_info().rss / 2**20)
    print(json.dumps(figures))


def over_http(
    home: Path, queries: Sequence[str], clients: Sequence[int], seconds: float
) -> dict[str, dict[str, float]]:
    """The same by the service; ``overload`` sends twice as many as the most clients were answered."""
    with served(home) as address:
        figures = {str(number): over(address, queries, clients=number, seconds=seconds) for number in clients}
        bears = max(one["per_second"] for one in figures.values())
        figures["overload"] = overloaded(address, queries, per_second=OVERLOAD * bears, seconds=seconds)
    return figures


def build(home: Path, dataset: Path, model: str) -> tuple[SearchService, dict[str, Any]]:
    """A live index of a dataset, and how long it took with its words and without."""
    from include.episodes import snapshot
    from include.episodes.sources.directory import DirectorySource
    from include.index.lancedb import LanceIndex
    from include.index.live import activate
    from include.index.plan import namespace_of
    from include.retriever.registry import ensure_base
    from include.search.service import SearchService
    from include.storage import ArtifactStore

    store = ArtifactStore(home / "artifacts")
    version = DirectorySource(dataset).latest_version()
    manifest = make_snapshot(store, dataset, home / "work", version=version, name="search")
    snapshot.publish(store, manifest.snapshot_id)
    columns = ["episode_id", *snapshot.INDEXED]
    episodes = snapshot.read(store, manifest.snapshot_id, columns=columns)
    base = ensure_base(store, model, "cpu")
    index, namespace = LanceIndex(str(home / "index")), namespace_of(base.version)
    seconds = {}
    for words in (False, True):
        index.drop(namespace)
        index.create(namespace, base.dimension)
        started = time.perf_counter()
        index.upsert(namespace, _records(episodes, base.dimension, words=words))
        index.finish(namespace)
        seconds[words] = time.perf_counter() - started
        print(f"{len(episodes):,} records {'with' if words else 'without'} words: {seconds[words]:.1f} s", flush=True)
    activate(
        store,
        backend=index.backend,
        index=index.name,
        namespace=namespace,
        model_version=base.version,
        snapshot_id=manifest.snapshot_id,
        metrics={},
        report=None,
    )
    service = SearchService(store, lambda live: index, weight=SETTINGS.search.hybrid_weight)
    return service, {
        "episodes": len(episodes),
        "index_mib": round(sum(file.stat().st_size for file in (home / "index").rglob("*")) / 2**20),
        "write_seconds": seconds[True],
        "write_seconds_without_words": seconds[False],
    }


def asked(
    service: SearchService, queries: Sequence[str], mode: Compared, *, clients: int, seconds: float
) -> dict[str, float]:
    """Ask for some seconds; how long queries took, in ms, and how many were answered a second."""
    service.search(queries[0], K, mode=mode)
    end = time.perf_counter() + seconds

    def client(number: int) -> list[float]:
        own = random.Random(number)  # noqa: S311 (not for secrets)
        taken = []
        while (started := time.perf_counter()) < end:
            service.search(own.choice(queries), K, mode=mode)
            taken.append(time.perf_counter() - started)
        return taken

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        taken = [1000 * one for own in pool.map(client, range(clients)) for one in own]
    return {
        "p50_ms": round(float(np.percentile(taken, 50)), 1),
        "p99_ms": round(float(np.percentile(taken, 99)), 1),
        "per_second": round(len(taken) / (time.perf_counter() - started), 1),
    }


def _records(episodes: pa.Table, dimension: int, *, words: bool) -> Iterator[Records]:
    for number, start in enumerate(range(0, len(episodes), BATCH)):
        rows = episodes.slice(start, BATCH).to_pylist()
        values = draw(number)[: len(rows), :dimension]
        values = values / np.linalg.norm(values, axis=1, keepdims=True)
        metadata = [
            Metadata(
                **{name: row[name] for name in row if name != "episode_id"}
                | ({} if words else {"title": "", "show_title": "", "description": None, "categories": None}),
                model_version="benchmark",
            )
            for row in rows
        ]
        yield Records([row["episode_id"] for row in rows], np.asarray(values, np.float32), metadata)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", type=Path, help="podcasts.csv and episodes.csv (default: a synthetic catalogue)")
    parser.add_argument("--episodes", type=int, default=40_000, help="of the synthetic catalogue (%(default)s)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16], help="at once (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="of asking, for each figure (%(default)s)")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="what embeds the queries (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
