"""Everything that needs a GPU, in one command of about ten minutes: CUDA tests, query generation, fine-tuning and
encoding.

Each contender is the one that :mod:`benchmarks.query_generation`, :mod:`benchmarks.fine_tuning` and
:mod:`benchmarks.encoding` measure, in a process of its own; only the texts are made here, without what ingestion needs.
So it starts where little is installed: PyTorch, transformers, sentence-transformers, accelerate, pyarrow, pandas,
psutil, filelock, nvidia-ml-py and pytest, and of pure or small wheels universal-pathlib, pathlib-abc, pydantic,
pydantic-core, annotated-types, typing-inspection, pydantic-settings, python-dotenv, datasets, dill, multiprocess,
xxhash, httpx2, httpcore2 and truststore. all-MiniLM-L6-v2 comes from its package, or from a folder (``--minilm``).

Texts are sentences of the bundled sample, recombined so that there are enough of them, and as long as real episodes. A
failure is reported and does not stop the rest. ``make bench-gpu``, or ``python -m benchmarks.gpu --help``; ``--tiny``
tries everything on a CPU. It ends with a table, and one line of JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.encoders import DISTILUSE, build_distiluse
from benchmarks.processes import run
from benchmarks.query_generation import QUERIES, TOKENS
from benchmarks.t5 import build_base

PROJECT = Path(__file__).resolve().parents[1]
SAMPLE = PROJECT / "include" / "sample"
BASE = "all-MiniLM-L6-v2"
SEED = 20171201
BARS = {"generation": 5.0, "fine-tuning": 3.0, "encoding": 3.0}
"""How many times the article's rate ours must be."""
HELD_OUT = 500
"""Pairs that models are compared on."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    device: str
    passages: int
    pairs: int
    texts: int


FULL = Size("cuda", passages=2048, pairs=16_000, texts=20_000)
TINY = Size("cpu", passages=4, pairs=128, texts=16)


class Bench:
    """One run: its folder, and what was found so far."""

    def __init__(self, work: Path, size: Size, minilm: str) -> None:
        self._work, self._size = work, size
        self._models = {"MiniLM": minilm, "distiluse's shape": str(work / DISTILUSE)}
        self._threads = str(len(os.sched_getaffinity(0)))
        self.rows: list[dict[str, Any]] = []
        self.failures: dict[str, str] = {}

    def prepare(self) -> None:
        """Make models and texts."""
        from include.retriever.registry import load_base

        size, work = self._size, self._work
        minilm = load_base(self._models["MiniLM"], "cpu").float()
        minilm.save_pretrained(str(work / "minilm"))
        build_distiluse(work / DISTILUSE, minilm.tokenizer)
        self._models["MiniLM"] = str(work / "minilm")
        texts = made_up_texts()
        passages = [next(texts) for _ in range(max(size.passages, 64))]
        build_base(work / "t5-base", passages)
        lines = [json.dumps(_passage(at, text)) for at, text in enumerate(passages[: size.passages])]
        (work / "passages.jsonl").write_text("\n".join(lines) + "\n")
        documents = [next(texts) for _ in range(size.texts)]
        (work / "texts.json").write_text(json.dumps({"documents": documents, "queries": []}))
        _write_pairs(work / "pairs.parquet", texts, size.pairs)

    def tests(self) -> None:
        """The tests that only run where there is a GPU."""
        if self._size.device == "cpu":
            return
        command = [sys.executable, "-m", "pytest", "--noconftest", "-q", "tests/include/devices/test_cuda.py"]
        ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603
        print(ended.stdout[-2000:], flush=True)
        if ended.returncode or "skipped" in ended.stdout:
            raise RuntimeError(f"test_cuda.py: {ended.stdout[-500:]}")

    def agreement(self) -> None:
        """Whether our decoder draws from transformers' distribution on this device."""
        found = self._measure("query_generation", "agreement", model=self._work / "t5-base")
        print(json.dumps(found), flush=True)
        if not found["agree"]:
            raise RuntimeError(f"Another distribution: {found}")

    def generation(self) -> None:
        options = {"texts": self._work / "passages.jsonl", "model": self._work / "t5-base", "engine": "torch"}
        found = {name: self._measure("query_generation", name, **options) for name in ("article", "ours")}
        rates = {name: QUERIES * self._size.passages / one["seconds"] for name, one in found.items()}
        self._add("generation", "T5 v1.1 base's shape", "queries/s", rates, found)

    def fine_tuning(self) -> None:
        for model, folder in self._models.items():
            found = {}
            for name in ("article", "ours"):
                with tempfile.TemporaryDirectory(dir=self._work) as target:
                    found[name] = self._measure(
                        "fine_tuning", name, base=folder, texts=self._work / "pairs.parquet", target=target,
                        pairs=self._size.pairs,
                    )  # fmt: skip
            rates = {name: one["pairs"] / one["seconds"] for name, one in found.items()}
            self._add("fine-tuning", model, "pairs/s", rates, found)

    def encoding(self) -> None:
        import numpy as np

        ours = ("torch", "float16") if self._size.device == "cuda" else ("torch",)
        for model, folder in self._models.items():
            found, vectors = {}, {}
            for name in ("article", *ours):
                target = self._work / "vectors.npz"
                options = {"model": folder, "work": self._work, "texts": self._work / "texts.json", "target": target}
                found[name] = self._measure("encoding", name, **options)
                with np.load(target) as saved:
                    vectors[name] = saved["documents"]
                cosines = np.einsum("nd,nd->n", vectors[name], vectors["article"])
                found[name] |= {"cosine_mean": float(cosines.mean()), "cosine_least": float(cosines.min())}
            rates = {name: self._size.texts / one["seconds"] for name, one in found.items()}
            self._add("encoding", model, "texts/s", rates, found)

    def _measure(self, benchmark: str, contender: str, **options: Any) -> dict[str, Any]:
        options |= {"measure": contender, "device": self._size.device, "threads": self._threads}
        command = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        started = time.monotonic()
        usage, printed = run([sys.executable, "-m", f"benchmarks.{benchmark}", *command], cwd=PROJECT)
        found: dict[str, Any] = json.loads(printed) | {"peak_mib": round(usage.peak_mib)}
        print(f"{benchmark} {contender}: {time.monotonic() - started:.0f} s in all, {_short(found)}", flush=True)
        return found

    def _add(
        self, stage: str, model: str, unit: str, rates: Mapping[str, float], found: Mapping[str, dict[str, Any]]
    ) -> None:
        best = max(rate for name, rate in rates.items() if name != "article")
        ratio = round(best / rates["article"], 2)
        rounded = {name: round(rate, 1) for name, rate in rates.items()}
        self.rows.append({"stage": stage, "model": model, "unit": unit, "rates": rounded, "ratio": ratio, "met": ratio >= BARS[stage], "found": found})  # noqa: E501  # fmt: skip


def main() -> None:
    arguments = _arguments()
    size = TINY if arguments.tiny else FULL
    if size.device == "cuda":
        from torch.cuda import is_available

        if not is_available():
            sys.exit("CUDA finds no GPU here: check that nvidia-smi lists one, or try the command with --tiny.")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-gpu-", dir=arguments.folder) as folder:
        bench = Bench(Path(folder), size, arguments.minilm)
        bench.prepare()
        stages: dict[str, Callable[[], None]] = {
            stage.__name__: stage
            for stage in (bench.tests, bench.fine_tuning, bench.agreement, bench.generation, bench.encoding)
        }
        for name, stage in stages.items():
            try:
                stage()
            except Exception as problem:  # the others are measured all the same
                bench.failures[name] = f"{type(problem).__name__}: {problem}"[:1000]
                print(f"{name} failed: {bench.failures[name]}", flush=True)
            print(f"{name}: {time.monotonic() - started:.0f} s since the start", flush=True)
    print("\n".join(table(bench.rows)))
    figures = {
        "device": _device_name(size.device),
        "size": vars(size),
        "seconds": round(time.monotonic() - started),
        "rows": bench.rows,
        "failures": bench.failures,
    }
    print(json.dumps(figures))
    if bench.failures:
        sys.exit(1)


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The figures as lines of Markdown."""
    yield "| | model | article | ours | ratio | bar | GPU memory at most, MiB: article, ours |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in rows:
        article, *ours = row["rates"].items()
        told = ", ".join(f"{name} {rate:,.0f}" if len(ours) > 1 else f"{rate:,.0f}" for name, rate in ours)
        memory = ", ".join(f"{one.get('gpu_mib', one.get('gpu_peak_mib', 0)):,.0f}" for one in row["found"].values())
        bar = f"{BARS[row['stage']]:g}×{'' if row['met'] else ': missed'}"
        yield (
            f"| {row['stage']} | {row['model']} | {article[1]:,.0f} {row['unit']} | {told} | {row['ratio']:.2f}× | "
            f"{bar} | {memory} |"
        )


def made_up_texts() -> Iterator[str]:
    """Sentences of the sample's episodes, dealt out anew into texts as long as real episodes are."""
    with (SAMPLE / "episodes.csv").open(newline="", encoding="utf-8") as file:
        described = " ".join(row["description"] for row in csv.DictReader(file))
    words = [sentence.split() for sentence in re.split(r"(?<=[.!?])\s+", re.sub(r"<[^>]*>|&\w+;", " ", described))]
    sentences = [sentence for sentence in words if len(sentence) > 2]
    chance = random.Random(SEED)  # noqa: S311 (not for secrets)
    while True:
        length = max(8, int(chance.lognormvariate(*TOKENS) / 1.4))
        text: list[str] = []
        while len(text) < length:
            text += chance.choice(sentences)
        yield " ".join(text[:length])


def _passage(at: int, text: str) -> dict[str, str | None]:
    return {
        "episode_id": f"episode-{at}", "title": text[:60], "description": text,
        "show_title": "Show", "show_description": None, "language": "English",
    }  # fmt: skip


def _write_pairs(target: Path, texts: Iterator[str], count: int) -> None:
    """Texts, and a few words of each as its query."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from include.retriever.pairs import PAIRS

    chance = random.Random(SEED)  # noqa: S311 (not for secrets)
    rows = []
    held_out = min(HELD_OUT, count)
    for at in range(count + held_out):
        text = next(texts)
        words = text.split()[:80]
        query = " ".join(chance.sample(words, min(len(words), chance.randint(3, 8))))
        split = "train" if at < count else "eval"
        rows.append({"query": query, "episode_id": f"episode-{at}", "split": split, "origin": "title", "positive": text, "group": f"group-{at}", "weight": 1.0})  # noqa: E501  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=PAIRS), target)


def _short(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in found.items() if isinstance(value, int | float))


def _device_name(device: str) -> str:
    import torch

    return f"{torch.cuda.get_device_name(0) if device == 'cuda' else 'cpu'}, PyTorch {torch.__version__}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="try everything on a CPU, with very little data")
    parser.add_argument("--minilm", default=BASE, help="a folder with all-MiniLM-L6-v2 (default: from its package)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for 20 GB (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
