"""Our ingestion against the article's pandas code, on a made-up catalogue of the real one's size.

Ours is the function that the task ``prepare_snapshot`` calls: it reads, joins, turns HTML into text, puts rows in
quarantine and writes a snapshot. The article's reads, merges, strips, drops nulls and concatenates; it leaves HTML as
it is and writes nothing. Each run is a process of its own; the two take turns. One of each on a small catalogue comes
first and is not counted: from then on, Python finds all libraries compiled, as pip leaves them. ``make bench-ingest``,
or ``python -m benchmarks.ingest --help``. The last line printed is one JSON object of all figures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.catalogue import write_catalogue
from benchmarks.processes import Usage, run
from benchmarks.validation import TASKS, check_source, checked_ingestion, ingestion, publish_before

PROJECT = Path(__file__).resolve().parents[1]
SHOW_SHARE = 125_000 / 881_000
SMALL = 5_000
"""Episodes of the catalogue that is not measured."""
BARS = {"ingestion": {"wall": 0.9, "peak": 0.12}, "ingestion_with_gx": {"wall": 2.0}}
"""What our wall time and peak memory may be, as shares of the article's."""


def article(dataset: Path, target: Path) -> dict[str, int]:
    """The article's code, with the defaults of pandas 3."""
    import pandas as pd

    episodes = pd.read_csv(dataset / "episodes.csv")
    podcasts = pd.read_csv(dataset / "podcasts.csv")
    merged = episodes.merge(podcasts, left_on="podcast_uuid", right_on="uuid", suffixes=("_ep", "_pod"))
    fields = ["title_ep", "description_ep", "title_pod", "description_pod"]
    merged[fields] = merged[fields].apply(lambda column: column.str.strip())
    merged = merged.dropna(subset=fields)
    text = merged["title_ep"] + ". " + merged["description_ep"]
    text = text + ". " + merged["title_pod"] + ". " + merged["description_pod"]
    return {"read": len(episodes), "kept": len(text)}


CONTENDERS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {"article": article, "ingestion": ingestion}
"""What is compared, by name: each takes the dataset's folder and an empty one to write to, and says what it did."""
CHECKED = {"ingestion_with_gx": checked_ingestion}
"""What is compared, too, if wanted."""
BEFORE = {"ingestion": ("check_source",), "ingestion_with_gx": ("check_source", "publish_before")}
"""What must have been done before, and is not measured."""
UNMEASURED = {"check_source": check_source, "publish_before": publish_before}


def main() -> None:
    arguments = _arguments()
    if arguments.measure:
        measurable = CONTENDERS | CHECKED | UNMEASURED | TASKS
        print(json.dumps(measurable[arguments.measure](arguments.dataset, arguments.target)))
        return
    ours = ["ingestion", *(CHECKED if arguments.with_gx else [])]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-ingest-", dir=arguments.folder) as folder:
        figures = compare(Path(folder), ours, episodes=arguments.episodes, runs=arguments.runs)
        if arguments.growth:
            figures["growth"] = grow(Path(folder), ours, episodes=arguments.growth)
    print(json.dumps(figures))


def compare(folder: Path, ours: Sequence[str], *, episodes: int, runs: int) -> dict[str, Any]:
    """Measure the article's and ours in turn on one catalogue; medians, and ours as shares of the article's."""
    small = _catalogue(folder, SMALL)
    for name in ("article", *ours):
        _measure(name, small)
    dataset = _catalogue(folder, episodes)
    measured: dict[str, list[Usage]] = {name: [] for name in ("article", *ours)}
    outcomes = {}
    for number in range(runs):
        for name, results in measured.items():
            usage, outcomes[name] = _measure(name, dataset)
            results.append(usage)
            _say(f"run {number + 1}", name, usage)
    medians = {name: _median(results) for name, results in measured.items()}
    ratios = {name: _shares(medians[name], medians["article"]) for name in ours}
    for name, shares in ratios.items():
        print(f"{name} / article: " + ", ".join(f"{kind} {share:.2f}" for kind, share in shares.items()))
    return {
        "cores": len(os.sched_getaffinity(0)),
        "episodes": episodes,
        "dataset_bytes": sum(file.stat().st_size for file in dataset.iterdir()),
        "outcomes": outcomes,
        "medians": {name: _rounded(usage) for name, usage in medians.items()},
        "runs": {name: [_rounded(usage) for usage in results] for name, results in measured.items()},
        "ratios": ratios,
        "bars": {name: BARS[name] for name in ours},
        "met": all(ratios[name][kind] <= bar for name in ours for kind, bar in BARS[name].items()),
    }


def grow(folder: Path, ours: Sequence[str], *, episodes: int) -> dict[str, Any]:
    """Measure ours alone on a larger catalogue, to see what becomes of its memory."""
    dataset = _catalogue(folder, episodes)
    size = sum(file.stat().st_size for file in dataset.iterdir())
    figures: dict[str, Any] = {"episodes": episodes, "dataset_bytes": size, "outcomes": {}}
    for name in ours:
        usage, figures["outcomes"][name] = _measure(name, dataset)
        _say(f"{episodes:,} episodes", name, usage)
        figures[name] = _rounded(usage)
    return figures


def _shares(ours: Usage, theirs: Usage) -> dict[str, float]:
    """Wall time, CPU time and peak memory as shares of the other's."""
    pairs = {
        "wall": (ours.wall, theirs.wall),
        "cpu": (ours.cpu, theirs.cpu),
        "peak": (ours.peak_mib, theirs.peak_mib),
    }
    return {kind: round(mine / other, 3) for kind, (mine, other) in pairs.items()}


def _catalogue(folder: Path, episodes: int) -> Path:
    print(f"Writing a catalogue of {episodes:,} episodes …", flush=True)
    return write_catalogue(folder / str(episodes), episodes=episodes, shows=max(1, round(episodes * SHOW_SHARE)))


def _measure(name: str, dataset: Path) -> tuple[Usage, dict[str, Any]]:
    with tempfile.TemporaryDirectory(dir=dataset.parent) as target:
        for file in dataset.iterdir():
            _read(file)  # both find the files in the operating system's cache
        for step in (*BEFORE.get(name, ()), name):
            options = ["--measure", step, "--dataset", str(dataset), "--target", target]
            usage, printed = run([sys.executable, "-m", "benchmarks.ingest", *options], cwd=PROJECT)
    return usage, json.loads(printed)


def _read(file: Path) -> None:
    with file.open("rb") as stream:
        while stream.read(2**20):
            pass


def _median(usages: list[Usage]) -> Usage:
    columns = zip(*(asdict(usage).values() for usage in usages), strict=True)
    return Usage(*map(statistics.median, columns))


def _rounded(usage: Usage) -> dict[str, float]:
    return {name: round(value, 2) for name, value in asdict(usage).items()}


def _say(what: str, name: str, usage: Usage) -> None:
    print(
        f"{what}: {name} {usage.wall:.1f} s wall, {usage.user:.1f} + {usage.system:.1f} s CPU, "
        f"{usage.peak_mib:,.0f} MiB at most",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--episodes", type=int, default=881_000, help="size of the catalogue (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each contender (%(default)s)")
    parser.add_argument("--growth", type=int, default=4_000_000, help="a larger catalogue for ours alone; 0: none")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for some 15 GB (%(default)s)")
    parser.add_argument("--with-gx", action="store_true", help="measure ours with Great Expectations, too")
    for name, kind in (("measure", str), ("dataset", Path), ("target", Path)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
