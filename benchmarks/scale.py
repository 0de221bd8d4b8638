"""``python -m benchmarks.scale``: what a night with 1, 10 and 190 million episodes would take, from measured rates.

A model, not a measurement: each rate is from ``RESULTS.md``, quoted beside it, and is assumed to hold at any size. It
prints the table of ``docs/scale.md``; the last line is one JSON object. With ``--plan SMALL LARGE`` it measures the
memory of planning a full build at two sizes, the only memory figure in the model.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

SIZES = (1_000_000, 10_000_000, 190_000_000)
DEADLINE_HOURS = 6.0
"""Of each stage of a nightly run."""
NIGHTLY_SHARE = 0.01
"""Of the episodes, that a night brings or changes."""
DIMENSION = 512
"""Of distiluse, the base model of production; in 32 bits."""
SHARD = 200_000
"""Episodes of a shard, so that the vectors of one are small beside a task's memory."""
LIMIT_GIB = 16
"""Of a task's memory, in ``deploy/helm/values.yaml``."""


@dataclass(frozen=True)
class Rate:
    """A stage, and how many episodes one worker does in a second.

    :param worker: what one is, and whether there can be several.
    :param source: the words of ``RESULTS.md`` that it was taken from.
    :param nightly: it goes over the night's episodes alone, and not over all.
    """

    stage: str
    per_second: float
    worker: str
    source: str
    nightly: bool = True


RATES = (
    Rate("prepare", 881_000 / 36.8, "two cores of one machine", "the task `prepare_snapshot` calls: 36.8 s", False),
    # An episode is two texts: its own, and its beginning.
    Rate("encode", 2_064 / 2, "an H100", "2,064 texts/s in 32 bits"),
    Rate("upsert", 7_690, "four writers to a stand-in for Pinecone", "| 1,116/s, without metadata | 7,690/s |"),
)
PLAN_BYTES = 118
"""Of memory for each episode of a full build in ``plan_reindex``: *Scale* in ``RESULTS.md``."""


def model(episodes: int) -> dict[str, Any]:
    """Hours, workers and sizes of a catalogue; ``full`` is a night on which everything is built anew."""
    found: dict[str, Any] = {"episodes": episodes}
    for rate in RATES:
        full = episodes / rate.per_second / 3600
        night = full * (NIGHTLY_SHARE if rate.nightly else 1)
        found[rate.stage] = {
            "night_hours": round(night, 2),
            "night_workers": ceil(night / DEADLINE_HOURS),
            "full_hours": round(full, 2),
            "full_workers": ceil(full / DEADLINE_HOURS),
        }
    found["shards"] = ceil(episodes / SHARD)
    found["vectors_gb"] = round(episodes * DIMENSION * 4 / 1e9, 1)
    found["shard_gib"] = round(min(episodes, SHARD) * DIMENSION * 4 / 2**30, 2)
    found["plan_gib"] = round(episodes * PLAN_BYTES / 2**30, 1)
    return found


def most_episodes() -> int:
    """How many the plan of a full build may have within a task's memory."""
    return int(LIMIT_GIB * 2**30 / PLAN_BYTES)


def tables() -> str:
    """The model as Markdown."""
    models = [model(size) for size in SIZES]
    head = ["", *(f"{size // 1_000_000} million" for size in SIZES)]
    lines = [head, ["---"] * len(head)]
    for rate in RATES:
        stages = [one[rate.stage] for one in models]
        what = f"{rate.stage}, by {rate.worker}"
        lines.append([f"{what}: a night", *(_hours(one, "night") for one in stages)])
        if rate.nightly:
            lines.append([f"{what}: everything", *(_hours(one, "full") for one in stages)])
    lines += [
        ["shards (`PODSEARCH_SHARDS`)", *(f"{one['shards']:,}" for one in models)],
        ["vectors, in the artifacts and again in the index", *(f"{one['vectors_gb']:,.0f} GB" for one in models)],
        ["vectors of a shard in a task's memory", *(f"{one['shard_gib']:.2f} GiB" for one in models)],
        ["planning a full build, in a task's memory", *(f"{one['plan_gib']:,.1f} GiB" for one in models)],
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _hours(stage: dict[str, Any], of: str) -> str:
    hours, workers = stage[f"{of}_hours"], stage[f"{of}_workers"]
    time = f"{hours:,.1f} h" if hours >= 1 else f"{ceil(hours * 60)} min"
    return time + (f"; {workers} of them" if workers > 1 else "")


def measure(episodes: int) -> int:
    """Most memory (bytes) of a process that plans the full build of so many episodes, and does nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), episodes)
        command = [sys.executable, "-m", "benchmarks.scale", "--in", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return int(done.stdout.split()[-1])


def write(root: Path, episodes: int) -> None:
    """A snapshot of empty episodes, with ids as Kaggle's dataset has them, in shards of :data:`SHARD` at most."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from include.episodes import snapshot
    from include.episodes.parts import write_part
    from include.episodes.schema import EPISODES, QUARANTINE
    from include.storage import ArtifactStore

    parts = []
    shards = ceil(episodes / SHARD)
    for shard in range(shards):
        numbers = range(shard, episodes, shards)
        ids = sorted(str(uuid.UUID(int=(number * 2_654_435_761) << 64 | number)) for number in numbers)
        columns: dict[str, Any] = {field.name: pa.nulls(len(ids), field.type) for field in EPISODES if field.nullable}
        columns |= {field.name: ids for field in EPISODES if not field.nullable}
        columns["podcast_id"] = [f"p{shard}"] * len(ids)
        parts.append(write_part(root / f"{shard}.parquet", shard, [pa.table(columns, schema=EPISODES)]))
    quarantine = root / "quarantine.parquet"
    pq.write_table(QUARANTINE.empty_table(), quarantine)
    store = ArtifactStore(root / "artifacts")
    made = snapshot.write_parts(store, parts, source_version="v1", counts={}, quarantined={}, quarantine=quarantine)
    snapshot.publish(store, made.snapshot_id)


def plan(root: Path) -> None:
    """Plan the build, and print the most memory that it took."""
    from include.index.plan import plan_reindex
    from include.storage import ArtifactStore

    made = plan_reindex(ArtifactStore(root / "artifacts"), model_version="m1", live=None)
    assert made.action == "full"
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=int, nargs=2, metavar=("SMALL", "LARGE"), help="measure memory at two sizes")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        plan(arguments.folder)
    elif arguments.plan:
        (small, large), (low, high) = arguments.plan, map(measure, arguments.plan)
        each = (high - low) / (large - small)
        print(json.dumps({str(small): low, str(large): high, "bytes_per_episode": round(each, 1)}))
    else:
        print(tables())
        print(json.dumps({"most_episodes": most_episodes(), "sizes": [model(size) for size in SIZES]}))


if __name__ == "__main__":
    main()
