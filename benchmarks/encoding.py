"""Our encoding against the article's calls, on the texts of episodes.

The article encodes batches of 64 texts in the order they come. Ours tokenizes each text once and batches texts of
similar length, for PyTorch or, on a CPU, for CTranslate2; in 8 bits on a CPU or 16 on a GPU the vectors change
slightly, and the cost of that is measured on the curated queries of the bundled sample. Each run is a separate process;
the contenders take turns. ``make bench-encoding``, or ``python -m benchmarks.encoding --help``. The last line printed
is one JSON object with all figures.

ONNX Runtime was measured as an alternative to CTranslate2 and dropped. On one core without VNNI, as multiples of the
article's rate on 48 to 96 real episodes: all-MiniLM-L6-v2 PyTorch 1.5, ONNX Runtime 1.3 and with 8 bits (per channel,
reduced range) 1.9, CTranslate2 1.8 and with 8 bits 2.7; distiluse's architecture 1.2, 1.1, 2.0, 1.4 and 2.4. The cosine
to PyTorch's vectors with 8 bits was 0.991 for ONNX Runtime, 0.995 for CTranslate2.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.catalogue import ingested
from benchmarks.encoders import BY_DEVICE, CONTENDERS, DISTILUSE, measure, token_counts
from benchmarks.processes import run

PROJECT = Path(__file__).resolve().parents[1]
SAMPLE = PROJECT / "include" / "sample"
BARS = {"cpu": 1.5, "cuda": 3.0}
"""How many times as fast as the article's the best of ours must be."""
CATALOGUES = (100_000, 778_000)
"""Episodes that times are projected for: what the article trains on, and all it has."""
RANDOM_SAMPLE = 64
"""Texts that cosines of random weights are measured on."""
SEED = 20171201


@dataclass(frozen=True)
class Run:
    """Seconds without loading the model, CPU seconds of all threads, and memory at its peak, MiB."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    gpu_mib: float


@dataclass(frozen=True)
class Episodes:
    """The texts of a catalogue, with their ids."""

    ids: list[str]
    texts: list[str]


def main() -> None:
    arguments = _arguments()
    if arguments.measure:
        options = {name: getattr(arguments, name) for name in ("model", "device", "threads", "work", "texts", "target")}
        print(json.dumps(measure(arguments.measure, **options)))
        return
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with tempfile.TemporaryDirectory(prefix="bench-encoding-", dir=arguments.folder) as folder:
        work = Path(folder)
        sample = _episodes(SAMPLE, work / "sample")
        dataset = _episodes(arguments.dataset, work / "dataset") if arguments.dataset else sample
        chosen = random.Random(SEED).sample(dataset.texts, min(arguments.count, len(dataset.texts)))  # noqa: S311
        bench = Bench(work, device=arguments.device, threads=arguments.threads, runs=arguments.runs)
        figures = {
            "cores": len(os.sched_getaffinity(0)),
            "threads": arguments.threads,
            "device": _device_name(arguments.device),
            "texts": len(chosen),
            "bar": BARS[arguments.device],
            "models": {model: bench.compare(model, chosen, sample) for model in arguments.models},
        }
    figures["met"] = all(figures["bar"] <= max(one["speedups"].values()) for one in figures["models"].values())
    print(json.dumps(figures))


class Bench:
    """One comparison's folder and options."""

    def __init__(self, work: Path, *, device: str, threads: int, runs: int) -> None:
        self.work, self.device, self.threads, self.runs = work, device, threads, runs

    def compare(self, model: str, texts: list[str], sample: Episodes) -> dict[str, Any]:
        """Measure every contender on some texts in turn, and the quality of each on the sample."""
        tokens = token_counts(model, self.work, texts)
        print(f"{model}: {len(texts)} texts of {statistics.mean(tokens):.0f} tokens on average", flush=True)
        # First, for it also converts the model, which is done once and not to be timed.
        quality = self._quality(model, sample)
        measured: dict[str, list[Run]] = {name: [] for name in BY_DEVICE[self.device]}
        for number in range(self.runs):
            for name, results in measured.items():
                result, _ = self._measure(name, model, texts, [])
                results.append(result)
                print(f"run {number + 1}: {name} {len(texts) / result.seconds:.1f} texts/s", flush=True)
        medians = {name: _median(results) for name, results in measured.items()}
        rates = {name: len(texts) / median.seconds for name, median in medians.items()}
        speedups = {name: round(rate / rates["article"], 3) for name, rate in rates.items() if name != "article"}
        print(", ".join(f"{name} / article: {ratio:.2f}" for name, ratio in speedups.items()), flush=True)
        return {
            "tokens": {
                "mean": round(statistics.mean(tokens), 1),
                "median": statistics.median(tokens),
                "at_most_share": round(tokens.count(max(tokens)) / len(tokens), 3),
            },
            "texts_per_second": {name: round(rate, 2) for name, rate in rates.items()},
            "speedups": speedups,
            "cpu_speedups": {
                name: round(medians["article"].cpu_seconds / median.cpu_seconds, 3)
                for name, median in medians.items()
                if name != "article"
            },
            "peak_mib": {name: round(median.peak_mib, 1) for name, median in medians.items()},
            "gpu_mib": {name: round(median.gpu_mib, 1) for name, median in medians.items()},
            "hours": {
                str(episodes): {name: round(episodes / rate / 3600, 2) for name, rate in rates.items()}
                for episodes in CATALOGUES
            },
            "runs": {
                name: [{key: round(value, 2) for key, value in asdict(result).items()} for result in results]
                for name, results in measured.items()
            },
            "quality": quality,
        }

    def _quality(self, model: str, sample: Episodes) -> dict[str, dict[str, float]]:
        """Cosines to the article's vectors, and what the curated queries find; of random weights the cosines alone."""
        from include.evaluation.metrics import evaluate
        from include.evaluation.queries import load_curated

        is_trained = model != DISTILUSE
        documents = sample.texts if is_trained else sample.texts[:RANDOM_SAMPLE]
        curated = load_curated(SAMPLE / "curated_queries.csv", set(sample.ids)).query_set
        figures: dict[str, dict[str, float]] = {}
        reference = None
        for name in BY_DEVICE[self.device]:
            _, vectors = self._measure(name, model, documents, curated.queries if is_trained else [])
            reference = vectors["documents"] if reference is None else reference
            cosines = np.einsum("nd,nd->n", vectors["documents"], reference)
            figures[name] = {"cosine_mean": float(cosines.mean()), "cosine_least": float(cosines.min())}
            if is_trained:
                evaluation, *_ = evaluate(
                    curated,
                    model_version=name,
                    queries=vectors["queries"],
                    catalogue=vectors["documents"],
                    ids=sample.ids,
                )
                figures[name].update({key: value.mean for key, value in evaluation.metrics.items()})
            figures[name] = {key: round(value, 6) for key, value in figures[name].items()}
            print(f"{name}: " + ", ".join(f"{key} {value:.4f}" for key, value in figures[name].items()), flush=True)
        return figures

    def _measure(
        self, name: str, model: str, documents: list[str], queries: list[str]
    ) -> tuple[Run, dict[str, np.ndarray[Any, Any]]]:
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            texts, target = Path(folder) / "texts.json", Path(folder) / "vectors.npz"
            texts.write_text(json.dumps({"documents": documents, "queries": queries}))
            options = {"model": model, "device": self.device, "threads": self.threads, "work": self.work}
            options |= {"measure": name, "texts": texts, "target": target}
            command = [part for key, value in options.items() for part in (f"--{key}", str(value))]
            usage, printed = run([sys.executable, "-m", "benchmarks.encoding", *command], cwd=PROJECT)
            with np.load(target) as vectors:
                return Run(**json.loads(printed), peak_mib=usage.peak_mib), dict(vectors)


def _episodes(dataset: Path, folder: Path) -> Episodes:
    """The texts that ingestion makes of a dataset."""
    table = ingested(dataset, folder, columns=["episode_id", "text"])
    return Episodes(table["episode_id"].to_pylist(), table["text"].to_pylist())


def _median(runs: Sequence[Run]) -> Run:
    return Run(*map(statistics.median, zip(*(asdict(one).values() for one in runs), strict=True)))


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(0) if device == "cuda" else "cpu"


def _arguments() -> argparse.Namespace:
    from torch.cuda import is_available

    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoding", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["all-MiniLM-L6-v2", DISTILUSE], help="(%(default)s)")
    parser.add_argument("--dataset", type=Path, help="podcasts.csv and episodes.csv (default: the bundled sample)")
    parser.add_argument("--count", type=int, default=512, help="texts of it that are encoded (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each contender (%(default)s)")
    parser.add_argument("--device", choices=list(BARS), default="cuda" if is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads (%(default)s)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for 2 GB (%(default)s)")
    parser.add_argument("--measure", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    for name, kind in (("model", str), ("work", Path), ("texts", Path), ("target", Path)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
