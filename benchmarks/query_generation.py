"""Our query generator against the article's loop, on one model's weights and the same episodes.

The article pads 128 texts in the order they come and has transformers sample until the longest query is done. The model
has the article's size, with random weights (:mod:`benchmarks.t5`): what it writes is nonsense, but takes as long. Each
run is a separate process. That the two sample from the same distribution is checked with a small trained model. ``make
bench-query-generation``, or ``python -m benchmarks.query_generation --help``. The last line printed is one JSON object
with all figures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.agreement import agreement
from benchmarks.catalogue import ingested, write_catalogue
from benchmarks.processes import run
from benchmarks.t5 import build_base

PROJECT = Path(__file__).resolve().parents[1]
QUERIES = 3
SEED = 20171201
ARTICLE_BATCH = 128
EPISODES = {"cpu": 128, "cuda": 4096}
"""Enough for the article's batch, and on a GPU for one that lasts."""
BARS = {"cpu": 3.0, "cuda": 5.0}
"""How many times the article's rate ours must be."""
TOKENS = (4.8, 0.94)
"""Mean and standard deviation of the logarithm of a text's length in tokens: the words of 39,000 real episodes have
4.45 and 0.94, and T5 makes about 1.4 tokens of a word."""
CATALOGUES = {"article": 100_000, "kaggle": 778_182}
"""Episodes that the article wrote queries for, and those that it had left after cleaning."""


def article(arguments: argparse.Namespace) -> dict[str, Any]:
    """The article's loop, with its defaults: 32-bit floats, top_p, and the top_k of 50 that it did not ask for."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(arguments.model, use_safetensors=True)
    model = model.to(arguments.device)
    model.eval()
    torch.manual_seed(SEED)
    texts = [passage.text() for passage in _passages(arguments.texts)]
    started = time.monotonic()
    queries = []
    for start in range(0, len(texts), ARTICLE_BATCH):
        batch = texts[start : start + ARTICLE_BATCH]
        inputs = tokenizer(batch, padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            rows = model.generate(
                input_ids=inputs["input_ids"].to(arguments.device),
                attention_mask=inputs["attention_mask"].to(arguments.device),
                max_length=64,
                do_sample=True,
                top_p=0.95,
                num_return_sequences=QUERIES,
            )
        queries += tokenizer.batch_decode(rows, skip_special_tokens=True)
    return _figures(queries, time.monotonic() - started, arguments.device)


def ours(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ours, with the settings' defaults and the engine that suits the device."""
    from include.queries.contract import GeneratorSpec
    from include.queries.opening import create_generator

    generator = create_generator(
        GeneratorSpec(name="doc2query", model=str(arguments.model), engine=arguments.engine),
        device=arguments.device,
        threads=arguments.threads,
        cache=arguments.model.parent / "converted",
    )
    passages = _passages(arguments.texts)
    # The model is loaded with the first passage, and once converted.
    generator.generate(passages[:1], 1, SEED)
    if arguments.ready:
        return {}
    started = time.monotonic()
    written = []
    size = generator.chunk or len(passages)
    for start in range(0, len(passages), size):
        written += generator.generate(passages[start : start + size], QUERIES, SEED)
    queries = [query.text for own in written for query in own]
    return _figures(queries, time.monotonic() - started, arguments.device)


MEASURED: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "article": article,
    "ours": ours,
    "agreement": lambda arguments: agreement(arguments.device, arguments.model.parent),
}
"""What runs in a process of its own, by name."""


def main() -> None:
    arguments = _arguments()
    if arguments.measure:
        if arguments.device == "cpu":
            import torch

            torch.set_num_threads(arguments.threads or len(os.sched_getaffinity(0)))
        print(json.dumps(MEASURED[arguments.measure](arguments)))
        return
    with tempfile.TemporaryDirectory(prefix="bench-queries-", dir=arguments.folder) as folder:
        print(json.dumps(compare(Path(folder), arguments)))


def compare(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the article's loop and ours on one sample of episodes, and how far their distributions are apart."""
    device = arguments.device
    texts = _sample(folder, arguments.dataset, arguments.episodes or EPISODES[device])
    passages = _passages(texts)
    print("Drawing a model of the article's size …", flush=True)
    model = build_base(folder / "t5-base", [passage.text() for passage in passages])
    common = ["--device", device, "--threads", str(arguments.threads), "--texts", str(texts), "--model", str(model)]
    common += ["--engine", arguments.engine]
    _measure("ours", *common, "--ready")
    figures: dict[str, Any] = {
        "device": device,
        "device_name": _device_name(device),
        "threads": arguments.threads or len(os.sched_getaffinity(0)),
        "episodes": len(passages),
        "tokens": _lengths(model, [passage.text() for passage in passages]),
        "contenders": {},
    }
    for name in ("article", "ours"):
        measured = _measure(name, *common)
        rate = len(passages) / measured["seconds"]
        figures["contenders"][name] = measured | {
            "episodes_per_second": round(rate, 3),
            "queries_per_second": round(QUERIES * rate, 3),
            "hours": {which: round(count / rate / 3600, 2) for which, count in CATALOGUES.items()},
        }
        print(f"{name}: {QUERIES * rate:.2f} queries a second, {measured['peak_mib']:,.0f} MiB at most", flush=True)
    seconds = [figures["contenders"][name]["seconds"] for name in ("article", "ours")]
    figures |= {"ratio": round(seconds[0] / seconds[1], 2), "bar": BARS[device]}
    figures["agreement"] = _measure("agreement", *common)
    figures["met"] = figures["ratio"] >= figures["bar"] and figures["agreement"]["agree"]
    print(f"ours / article: {figures['ratio']:.2f}")
    return figures


def _sample(folder: Path, dataset: Path | None, episodes: int) -> Path:
    """Cleaned passages of a seeded sample of a catalogue, one JSON object a line."""
    from include.episodes.described import described

    made_up = dataset is None
    if dataset is None:
        print("Writing a catalogue …", flush=True)
        dataset = write_catalogue(folder / "catalogue", episodes=max(2 * episodes, 5000), shows=max(episodes // 7, 50))
    columns = ["episode_id", "title", "description", "show_title", "show_description", "language"]
    rows = described(ingested(dataset, folder / "ingested", columns=columns)).to_pylist()
    sample = random.Random(SEED).sample(rows, min(episodes, len(rows)))  # noqa: S311
    if made_up:
        sample = [_as_long_as_real(row) for row in sample]
    target = folder / "passages.jsonl"
    target.write_text("".join(json.dumps(row) + "\n" for row in sample))
    return target


def _as_long_as_real(row: dict[str, Any]) -> dict[str, Any]:
    """An episode of as many words as real ones have tokens."""
    length = random.Random(f"{SEED}:{row['episode_id']}").lognormvariate(*TOKENS)  # noqa: S311
    words = f"{row['description']} {row['show_description'] or ''}".split()
    words *= 1 + int(length) // max(len(words), 1)
    return row | {"description": " ".join(words[: max(5, int(length))]), "show_description": None}


def _passages(file: Path) -> list[Any]:
    from include.queries.contract import Passage

    return [Passage(**json.loads(line)) for line in file.read_text().splitlines()]


def _lengths(model: Path, texts: list[str]) -> dict[str, float]:
    """How many tokens the texts have, as they are read."""
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(model)(texts, truncation=True, max_length=256)["input_ids"]
    lengths = sorted(map(len, tokens))
    return {"mean": round(sum(lengths) / len(lengths), 1), "median": lengths[len(lengths) // 2], "most": lengths[-1]}


def _figures(queries: list[str], seconds: float, device: str) -> dict[str, Any]:
    import torch

    words = sum(len(query.split()) for query in queries) / max(len(queries), 1)
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
    return {
        "seconds": round(seconds, 2),
        "queries": len(queries),
        "words_per_query": round(words, 2),
        "gpu_peak_mib": round(peak),
    }


def _measure(name: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.query_generation", "--measure", name, *options]
    usage, printed = run(command, cwd=PROJECT)
    measured: dict[str, Any] = json.loads(printed)
    return measured | {"peak_mib": round(usage.peak_mib), "cpu_seconds": round(usage.cpu, 1)}


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(0) if device == "cuda" else torch.backends.cpu.get_cpu_capability()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.query_generation", description=__doc__)
    parser.add_argument("--device", choices=sorted(BARS), default="cpu", help="where both run (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="on a CPU; 0: one for each core that may be used")
    parser.add_argument("--episodes", type=int, default=0, help=f"size of the sample; 0: {EPISODES}")
    parser.add_argument("--dataset", type=Path, help="a folder with podcasts.csv and episodes.csv (default: synthetic)")
    parser.add_argument("--engine", choices=("auto", "torch", "ctranslate2"), default="auto", help="of ours")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for some 3 GB (%(default)s)")
    for name, kind in (("measure", str), ("texts", Path), ("model", Path)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--ready", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
