"""Our fine-tuning against the article's settings, to the same number of pairs.

The article trains on batches of 64 in the order they come, each padded to its longest text, in 32 bits. Ours uses the
same batches, and gets the same gradient: a CPU embeds each batch in pieces of similar length, whose words are looked up
once; a GPU computes in 16 bits, and pairs can be sorted by length (``--recipe '{"sorted_batches": 50}'``). Both see 128
tokens, as the article's encoder does; ours also writes its checkpoints. The article's evaluation before and after, of a
thousand queries with a thousand texts each, is not counted. Each run is a separate process; the two take turns. ``make
bench-fine-tuning``, or ``python -m benchmarks.fine_tuning --help``. The last line printed is one JSON object with all
figures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue import ingested
from benchmarks.encoders import DISTILUSE, load_model
from benchmarks.processes import run

if TYPE_CHECKING:
    import pyarrow as pa
    from sentence_transformers import SentenceTransformer

PROJECT = Path(__file__).resolve().parents[1]
SAMPLE = PROJECT / "include" / "sample"
MODELS = ("all-MiniLM-L6-v2", DISTILUSE)
BARS = {"cpu": 1.5, "cuda": 3.0}
"""How many times as fast as the article's ours must be."""
WORSE = 0.01
"""What MRR@5 of the held-out queries may lack after training: less than one query of 80 moved by a place."""
CATALOGUES = (100_000, 778_000)
"""Episodes that times are projected for: what the article trains on, and all it has."""
PAIRS_OF_AN_EPISODE = 3 * 0.8
"""Three queries each, of which four fifths train."""
ARTICLE_TOKENS = 128
SEED = 20171201


def article(folder: Path, pairs: pa.Table, arguments: argparse.Namespace) -> SentenceTransformer:
    """The article's settings, with the library's trainer of today."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.training_args import (
        BatchSamplers,
        SentenceTransformerTrainingArguments,
    )

    model = SentenceTransformer(str(folder), device=arguments.device)
    model.max_seq_length = min(model.max_seq_length or ARTICLE_TOKENS, ARTICLE_TOKENS)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(arguments.target / "article"),
            num_train_epochs=1,
            per_device_train_batch_size=64,
            learning_rate=2e-5,
            warmup_steps=0.1,
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            optim="adamw_torch",
            seed=SEED,
            use_cpu=arguments.device == "cpu",
            save_strategy="no",
            disable_tqdm=True,
            report_to="none",
        ),
        train_dataset=Dataset(pairs.select(["query", "positive"]).combine_chunks()),
        loss=MultipleNegativesRankingLoss(model),
    )
    trainer.train()
    return model


def ours(folder: Path, pairs: pa.Table, arguments: argparse.Namespace) -> SentenceTransformer:
    """Ours, with all that belongs to it: checkpoints, the model card, and the model saved."""
    from datetime import UTC, datetime

    from include.retriever.finetuning.hardware import Hardware
    from include.retriever.finetuning.run import fine_tune
    from include.retriever.manifest import ModelManifest
    from include.retriever.recipe import Recipe
    from include.retriever.registry import load_folder

    base = ModelManifest(
        version="benchmark-base-1",
        kind="base",
        base_model="benchmark",
        dimension=1,
        max_seq_length=1,
        registered_at=datetime.now(UTC),
    )
    trained, _ = fine_tune(
        folder,
        pairs,
        base=base,
        training_id="benchmark",
        snapshot_id="benchmark",
        recipe=Recipe(seed=SEED, **json.loads(arguments.recipe)),
        hardware=Hardware(device=arguments.device, gpus=arguments.gpus, threads=arguments.threads),
        work=arguments.target / "ours",
    )
    model = load_folder(trained, arguments.device)
    model.max_seq_length = min(model.max_seq_length or ARTICLE_TOKENS, ARTICLE_TOKENS)
    return model


CONTENDERS: dict[str, Callable[[Path, pa.Table, argparse.Namespace], SentenceTransformer]] = {
    "article": article,
    "ours": ours,
}


def main() -> None:
    arguments = _arguments()
    if arguments.measure:
        print(json.dumps(_train_and_evaluate(arguments)))
        return
    os.environ |= {"TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory(prefix="bench-fine-tuning-", dir=arguments.folder) as folder:
        work = Path(folder)
        _write_pairs(arguments.dataset or SAMPLE, work)
        figures = {
            "cores": len(os.sched_getaffinity(0)),
            "threads": arguments.threads,
            "device": _device_name(arguments.device),
            "gpus": arguments.gpus if arguments.device == "cuda" else 0,
            "recipe": json.loads(arguments.recipe),
            "bar": BARS[arguments.device],
            "models": {model: compare(model, work, arguments) for model in arguments.models},
        }
    figures["met"] = all(one["speedup"] >= figures["bar"] and one["no_worse"] for one in figures["models"].values())
    print(json.dumps(figures))


def compare(model: str, work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one model by the article's settings and ours, in turn."""
    load_model(model, "cpu", work).save_pretrained(str(work / model))
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for number in range(arguments.runs):
        for name, results in measured.items():
            results.append(_measure(name, work / model, work, arguments))
            said = ", ".join(f"{key} {value:.3f}" for key, value in results[-1].items())
            print(f"{model}, run {number + 1}: {name}: {said}", flush=True)
    medians = {name: _median(results) for name, results in measured.items()}
    rates = {name: median["pairs"] / median["seconds"] for name, median in medians.items()}
    gains = {
        kind: round(medians["article"][kind] / medians["ours"][kind], 3)
        for kind in ("seconds", "cpu_seconds", "peak_mib")
    }
    print(f"{model}: ours is {gains['seconds']:.2f} times as fast ({gains['cpu_seconds']:.2f} by CPU time)", flush=True)
    return {
        "speedup": gains["seconds"],
        "cpu_speedup": gains["cpu_seconds"],
        "peak_gain": gains["peak_mib"],
        # Random weights learn next to nothing in so few steps: there, only speed is told.
        "no_worse": model == DISTILUSE or medians["ours"]["mrr@5"] >= medians["article"]["mrr@5"] - WORSE,
        "pairs_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "hours": {
            str(episodes): {
                name: round(episodes * PAIRS_OF_AN_EPISODE / rate / 3600, 2) for name, rate in rates.items()
            }
            for episodes in CATALOGUES
        },
        "medians": medians,
        "runs": measured,
    }


def _train_and_evaluate(arguments: argparse.Namespace) -> dict[str, float]:
    """Be a contender: train on some pairs, which is timed, and ask the held-out queries."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    import torch

    from include.retriever.finetuning.evaluation import create_evaluator, figures_of
    from include.retriever.registry import load_folder

    # What the contenders import is loaded before the time is taken: seconds, where Python must compile it first.
    import_module("include.retriever.finetuning.run")
    torch.set_num_threads(arguments.threads)
    pairs = pq.read_table(arguments.texts)
    train = pairs.filter(pc.field("split") == "train").slice(0, arguments.pairs)
    held_out = create_evaluator(pairs.filter(pc.field("split") != "train"))
    assert held_out is not None
    base = load_folder(arguments.base, arguments.device)
    base.max_seq_length = min(base.max_seq_length or ARTICLE_TOKENS, ARTICLE_TOKENS)
    before = figures_of(held_out(base))
    started, started_cpu = time.perf_counter(), time.process_time()
    model = CONTENDERS[arguments.measure](arguments.base, train, arguments)
    if arguments.device == "cuda":
        torch.cuda.synchronize()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    gpu = torch.cuda.max_memory_allocated() / 2**20 if arguments.device == "cuda" else 0.0
    after = figures_of(held_out(model))
    return {
        "pairs": len(train),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "gpu_mib": gpu,
        "held_out": len(held_out.queries),
        "mrr@5_before": before["MRR@5"],
        "mrr@5": after["MRR@5"],
        "recall@1_before": before["Recall@1"],
        "recall@1": after["Recall@1"],
    }


def _measure(name: str, base: Path, work: Path, arguments: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=work) as target:
        options = {key: getattr(arguments, key) for key in ("pairs", "device", "gpus", "threads", "recipe")}
        options |= {"measure": name, "base": base, "texts": work / "pairs.parquet", "target": target}
        command = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        usage, printed = run([sys.executable, "-m", "benchmarks.fine_tuning", *command], cwd=PROJECT)
    return {**json.loads(printed), "peak_mib": round(usage.peak_mib, 1)}


def _write_pairs(dataset: Path, work: Path) -> None:
    """Pairs of a dataset's episodes, with the queries that need no model to be written; in no order."""
    import random

    import pyarrow as pa
    import pyarrow.parquet as pq

    from include.episodes.described import described
    from include.queries.contract import Passage
    from include.queries.extractive import ExtractiveQueryGenerator
    from include.retriever.pairs import build_pairs

    columns = ["episode_id", "title", "description", "show_title", "show_description", "language"]
    table = described(ingested(dataset, work / "ingested", columns=columns))
    passages = [Passage(**row) for row in table.to_pylist()]
    queries = ExtractiveQueryGenerator().generate(passages, 3, SEED)
    pairs = build_pairs(passages, queries, train_share=0.8, eval_share=0.01)
    order = list(range(len(pairs)))
    random.Random(SEED).shuffle(order)  # noqa: S311 (not for secrets)
    pq.write_table(pairs.take(pa.array(order)), work / "pairs.parquet")


def _median(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(one[key] for one in runs), 4) for key in runs[0]}


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(0) if device == "cuda" else "cpu"


def _arguments() -> argparse.Namespace:
    from torch.cuda import is_available

    parser = argparse.ArgumentParser(prog="python -m benchmarks.fine_tuning", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="(%(default)s)")
    parser.add_argument("--dataset", type=Path, help="podcasts.csv and episodes.csv (default: the bundled sample)")
    parser.add_argument("--pairs", type=int, default=640, help="to train on, at most (%(default)s)")
    parser.add_argument("--runs", type=int, default=1, help="of each contender (%(default)s)")
    parser.add_argument("--recipe", default="{}", help="what differs from the default recipe, as JSON")
    parser.add_argument("--device", choices=list(BARS), default="cuda" if is_available() else "cpu")
    parser.add_argument("--gpus", type=int, default=1, help="for ours (%(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads (%(default)s)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for 10 GB (%(default)s)")
    parser.add_argument("--measure", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    for name in ("base", "texts", "target"):
        parser.add_argument(f"--{name}", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
