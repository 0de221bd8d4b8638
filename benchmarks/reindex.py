"""Our re-indexing against the article's loop, on the same stand-in for Pinecone and with the same model.

The article encodes 64 texts, writes them, waits, and continues; it always builds the whole index, without metadata. It
asks the index one evaluation query at a time. Ours is measured with the steps of the DAG's tasks: a full build, and a
difference of 1 % (:data:`CHANGES`), each planned, encoded, written, cleared of withdrawn episodes, verified, compared
with exact search, and activated. Evaluation ranks exactly, over cached vectors; asking the index many questions at a
time is measured separately. The time to open the model is shown, but is in no rate. The stand-in is a separate process,
each of whose answers takes 50 ms on top of its work; so is each contender. ``make bench-reindex``, or ``python -m
benchmarks.reindex --help``. The last line printed is one JSON object with all figures.

A million vectors, without a model: :mod:`benchmarks.vectors`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue import ingested
from benchmarks.indexers import CONTENDERS, MODEL, Job, measure
from benchmarks.pinecone_server import Server, served
from benchmarks.processes import run

if TYPE_CHECKING:
    import pyarrow as pa

PROJECT = Path(__file__).resolve().parents[1]
SAMPLE = PROJECT / "include" / "sample"
EPISODES = 20_000
SHARDS = 4
CHANGES = {"edited": 0.006, "added": 0.002, "withdrawn": 0.002}
"""Shares of the catalogue; an edited or added text is encoded anew."""
BARS = {"encode_and_upsert": 2.0, "upsert": 10.0, "difference": 0.03, "evaluation": 20.0}
"""How many times the article's rate ours must be; of a difference, the most that it may cost of a full build."""
SEED = 20171201


def main() -> None:
    arguments = _arguments()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.job)))
        return
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with (
        tempfile.TemporaryDirectory(prefix="bench-reindex-", dir=arguments.folder) as folder,
        served(arguments.latency / 1000) as server,
    ):
        print(json.dumps(compare(Path(folder), server, arguments)))


def compare(work: Path, server: Server, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the article's loops and our steps on one catalogue."""
    path = work / "job.json"
    job = _job(work, server, arguments)
    job.write(path)
    _measure("ready", path)
    measured = {name: _measure(name, path) for name in CONTENDERS if name != "ready"}
    article, ours = measured["article"], measured["full"]
    rates = {
        name: {
            "encode": one["written"] / _seconds(one, "encode"),
            "upsert": one["written"] / _seconds(one, "upsert"),
            "encode_and_upsert": one["written"] / _seconds(one, "encode", "upsert"),
            "everything": one["written"] / _seconds(one),
        }
        for name, one in (("article", article), ("ours", ours))
    }
    ratios = {name: rates["ours"][name] / rates["article"][name] for name in rates["ours"]}
    ratios["difference"] = _seconds(measured["difference"]) / _seconds(ours)
    ratios["difference_with_opening"] = _seconds(measured["difference"], "open") + _seconds(measured["difference"])
    ratios["difference_with_opening"] /= _seconds(ours, "open") + _seconds(ours)
    asked = measured["article-queries"]
    for name in ("exact", "asked"):
        ratios[f"queries_{name}"] = _seconds(asked) / _seconds(measured[f"{name}-queries"])
        ratios[f"search_{name}"] = _seconds(asked, "search") / _seconds(measured[f"{name}-queries"], "search")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.3f}", flush=True)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "threads": job.threads,
        "latency_ms": arguments.latency,
        "episodes": article["written"],
        "queries": len(job.questions),
        "episodes_per_second": {
            name: {key: round(rate, 2) for key, rate in own.items()} for name, own in rates.items()
        },
        "ratios": {name: round(ratio, 4) for name, ratio in ratios.items()},
        "bars": BARS,
        "met": {
            "encode_and_upsert": ratios["encode_and_upsert"] >= BARS["encode_and_upsert"],
            "upsert": ratios["upsert"] >= BARS["upsert"],
            "difference": ratios["difference"] <= BARS["difference"],
            "evaluation": ratios["queries_exact"] >= BARS["evaluation"],
        },
        "measured": measured,
    }


def _job(work: Path, server: Server, arguments: argparse.Namespace) -> Job:
    """Two snapshots in a store of their own, the base model in its registry, and queries."""
    from include.retriever.registry import ensure_base
    from include.storage import ArtifactStore
    from tests.include.episodes.catalogue import write_snapshot

    rows = _catalogue(arguments.dataset or SAMPLE, work, arguments.episodes + _share("added", arguments.episodes))
    first, second = rows[: arguments.episodes], _changed(rows, arguments.episodes)
    store = ArtifactStore(work / "artifacts")
    snapshots = [
        write_snapshot(store, _table(own), source_version=name, shards=SHARDS, counts={}, quarantined={}).snapshot_id
        for name, own in (("first", first), ("second", second))
    ]
    held = {row["episode_id"] for row in first} & {row["episode_id"] for row in second}
    kept = [row for row in second if row["episode_id"] in held]
    chosen = random.Random(SEED).sample(kept, min(arguments.queries, len(kept)))  # noqa: S311
    return Job(
        work=work,
        server=server,
        threads=arguments.threads,
        version=ensure_base(store, MODEL, "cpu").version,
        snapshots=(snapshots[0], snapshots[1]),
        questions=[(row["title"], row["episode_id"]) for row in chosen],
    )


def _catalogue(dataset: Path, work: Path, episodes: int) -> list[dict[str, Any]]:
    """So many episodes; where the dataset has fewer, titles and descriptions of different ones are put together."""
    from include.episodes.schema import EPISODES

    real = ingested(dataset, work / "ingested", columns=EPISODES.names).to_pylist()
    random.Random(SEED).shuffle(real)  # noqa: S311
    rows = []
    for number, row in enumerate(islice(cycle(real), episodes)):
        title = real[(number + number // len(real)) % len(real)]["title"]
        key = hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()
        rows.append(row | {"episode_id": key, "title": title})
    return rows


def _changed(rows: Sequence[dict[str, Any]], episodes: int) -> list[dict[str, Any]]:
    """The catalogue as the next version has it."""
    edited, withdrawn = _share("edited", episodes), _share("withdrawn", episodes)
    order = random.Random(SEED).sample(range(episodes), edited + withdrawn)  # noqa: S311
    edit, gone = set(order[:edited]), set(order[edited:])
    return [
        row | {"description": f"{row['description'] or ''} Corrected."} if number in edit else row
        for number, row in enumerate(rows)
        if number not in gone
    ]


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    from include.episodes.schema import EPISODES, compose_text, content_hash

    for row in rows:
        row["text"] = compose_text(row["title"], row["description"], row["show_title"], row["show_description"])
        row["content_hash"] = content_hash(row["text"])
    return pa.Table.from_pylist(list(rows), schema=EPISODES)


def _share(change: str, episodes: int) -> int:
    return max(1, round(CHANGES[change] * episodes))


def _measure(name: str, path: Path) -> dict[str, Any]:
    usage, printed = run(
        [sys.executable, "-m", "benchmarks.reindex", "--measure", name, "--job", str(path)], cwd=PROJECT
    )
    measured: dict[str, Any] = json.loads(printed)
    if name != "ready":
        steps = ", ".join(f"{step} {own['seconds']:.2f} s" for step, own in measured["steps"].items())
        print(f"{name}: {steps}; {usage.peak_mib:,.0f} MiB at most", flush=True)
        measured["steps"] = {
            step: {kind: round(value, 3) for kind, value in own.items()} for step, own in measured["steps"].items()
        }
    return measured | {"peak_mib": round(usage.peak_mib)}


def _seconds(measured: dict[str, Any], *steps: str) -> float:
    """Of some steps; of all but opening the model, unless they are named."""
    own = measured["steps"]
    return float(sum(own[step]["seconds"] for step in steps or own if steps or step != "open"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reindex", description=__doc__)
    parser.add_argument("--episodes", type=int, default=EPISODES, help="(%(default)s)")
    parser.add_argument("--queries", type=int, default=500, help="of the evaluation (%(default)s)")
    parser.add_argument("--latency", type=float, default=50, help="of the stand-in, milliseconds (%(default)s)")
    parser.add_argument("--dataset", type=Path, help="podcasts.csv and episodes.csv (default: the bundled sample)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads (%(default)s)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for 1 GB (%(default)s)")
    parser.add_argument("--measure", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
