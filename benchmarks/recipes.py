"""What makes a better retriever: kinds of training queries and hyper-parameters, each against the plain recipe.

A base model is fine-tuned once for each variant, all else equal, and measured by hybrid search on the queries that
people wrote for the sample (``curated``) and on those of episodes it was not trained on (``test``). Differences from
the plain recipe are reported with their 95 % interval, query by query. One seed can tell large differences from small
ones, but not small ones from none: use ``--seeds`` for more. ``--dataset`` names a folder in the Kaggle files' format
to use instead of the sample; it has no curated queries unless there is a ``curated_queries.csv`` beside its files.

``python -m benchmarks.recipes --help``. Results are kept in ``--results`` and not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue import SETTINGS, ingested

if TYPE_CHECKING:
    import pyarrow as pa

    from include.queries.contract import Passage, Query

SAMPLE = Path(__file__).resolve().parents[1] / "include" / "sample"
LOCAL = {"learning_rate": 5e-5}
"""What the local profile changes of the article's recipe."""
ORIGINS = ("title", "key_phrase", "lead")
SEED = 20171201
TEST_QUERIES = 300
SHOWN = ("recall@1", "recall@30", "mrr@30")
WEIGHT = SETTINGS.search.hybrid_weight


@dataclass(frozen=True)
class Variant:
    """One way to train.

    :param queries: per episode; origins come in a random order.
    :param round_trip: queries whose episode the base model does not find among so many are left out; 0: none are.
    :param recipe: what differs from the local profile's.
    """

    origins: tuple[str, ...] = ORIGINS
    queries: int = 3
    round_trip: int = 0
    recipe: dict[str, Any] = field(default_factory=dict)


PLAIN = "plain: titles, key phrases and leads, 3 per episode"
VARIANTS: dict[str, Variant] = {
    PLAIN: Variant(),
    "titles only": Variant(("title",)),
    "key phrases only": Variant(("key_phrase",)),
    "leads only": Variant(("lead",)),
    "titles and key phrases": Variant(("title", "key_phrase")),
    "titles and leads": Variant(("title", "lead")),
    "1 query per episode": Variant(queries=1),
    "6 queries per episode": Variant(queries=6),
    "10 queries per episode": Variant(queries=10),
    "6 queries per episode, learning rate 1e-4": Variant(queries=6, recipe={"learning_rate": 1e-4}),
    "6 queries per episode, batches of 32": Variant(queries=6, recipe={"batch_size": 32}),
    "learning rate 2e-5 (the article's)": Variant(recipe={"learning_rate": 2e-5}),
    "learning rate 1e-4": Variant(recipe={"learning_rate": 1e-4}),
    "2 epochs": Variant(recipe={"epochs": 2}),
    "batches of 32": Variant(recipe={"batch_size": 32}),
    "batches of 128": Variant(recipe={"batch_size": 128}),
    "2 hard negatives": Variant(recipe={"hard_negatives": 2}),
    "2 hard negatives, not denoised": Variant(recipe={"hard_negatives": 2, "negative_margin": 0.0}),
    "guide: the base model": Variant(recipe={"guide": "base"}),
    "round trip, top 10": Variant(round_trip=10),
    "Matryoshka, 384 and 128": Variant(recipe={"matryoshka": [384, 128]}),
    "prompt before queries": Variant(recipe={"query_prompt": "query: "}),
}
BASE = "base model, not fine-tuned"


@dataclass(frozen=True)
class Work:
    """What all variants share."""

    dataset: Path
    episodes: int
    pairs: int
    model: str
    threads: int
    folder: Path


def main() -> None:
    arguments = _arguments()
    os.environ |= {"TOKENIZERS_PARALLELISM": "false"}
    arguments.results.mkdir(parents=True, exist_ok=True)
    work = Work(
        arguments.dataset or SAMPLE,
        arguments.episodes,
        arguments.pairs,
        arguments.model,
        arguments.threads,
        arguments.results,
    )
    chosen = [name for name in VARIANTS if not arguments.variants or any(part in name for part in arguments.variants)]
    jobs = [(BASE, SEED)] + [(name, SEED + number) for number in range(arguments.seeds) for name in chosen]
    # A process each: memory that one variant took is not kept from the next.
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(measure, work, name, seed): (name, seed) for name, seed in jobs}
        for number, done in enumerate(as_completed(running), start=1):
            name, seed = running[done]
            print(f"{number} of {len(jobs)}: {name}, seed {seed}: {done.result()}", flush=True)
    print(table(work.folder, chosen, arguments.seeds))


def measure(work: Work, name: str, seed: int) -> str:
    """Train a variant, ask its queries and keep the answers; says what was seen."""
    import torch

    folder = work.folder / _slug(name, seed)
    if (folder / "figures.json").is_file():
        return "measured before"
    torch.set_num_threads(work.threads)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-recipes-") as temporary:
        catalogue = _Catalogue(work, Path(temporary))
        if name == BASE:
            trained, pairs = catalogue.base, 0
        else:
            trained, pairs = catalogue.train(VARIANTS[name], seed)
        seconds = time.monotonic() - started
        results = catalogue.ask(trained)
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    for query_set, answers in results.items():
        pq.write_table(answers, folder / f"{query_set}.parquet")
    (folder / "figures.json").write_text(json.dumps({"pairs": pairs, "seconds": seconds}))
    means = {
        query_set: {key: round(float(answers[key].to_numpy().mean()), 3) for key in SHOWN}
        for query_set, answers in results.items()
    }
    return f"{pairs} pairs, {seconds:.0f} s, {means}"


class _Catalogue:
    """A dataset's episodes, and what is asked of them, the same for every variant."""

    def __init__(self, work: Work, temporary: Path) -> None:
        from datetime import UTC, datetime

        import pyarrow as pa

        from include.episodes.described import described
        from include.evaluation.queries import read_curated
        from include.queries.contract import Passage
        from include.retriever.manifest import ModelManifest
        from include.retriever.registry import load_base

        self._work, self._temporary = work, temporary
        self.base = temporary / "base"
        load_base(work.model, "cpu").save_pretrained(str(self.base))
        self._manifest = ModelManifest(
            version="benchmark-base-1",
            kind="base",
            base_model=work.model,
            dimension=1,
            max_seq_length=1,
            registered_at=datetime.now(UTC),
        )
        columns = ["episode_id", "title", "description", "show_title", "show_description", "language"]
        more = ["podcast_id", "categories", "text"]
        table = ingested(work.dataset, temporary / "ingested", columns=[*columns, *more])
        rows = described(table).to_pylist()
        # Whole shows: it is the other episodes of its show that an episode is hard to tell from.
        rows.sort(key=lambda row: (random.Random(row["podcast_id"]).random(), row["episode_id"]))  # noqa: S311
        rows = rows[: work.episodes or None]
        self.ids = [row["episode_id"] for row in rows]
        self.texts = [row["text"] for row in rows]
        self.episodes = pa.Table.from_pylist(rows)
        self.passages: list[Passage] = [Passage(**{key: row[key] for key in columns}) for row in rows]
        curated = work.dataset / "curated_queries.csv"
        self.curated = curated if curated.is_file() else None
        self._answers = read_curated(curated) if self.curated else {}

    def pairs(self, variant: Variant, seed: int) -> pa.Table:
        from include.queries.extractive import ExtractiveQueryGenerator
        from include.queries.filtering import filter_queries
        from include.retriever.pairs import build_pairs

        # More than are used: what is filtered or of another origin is made up for.
        written = ExtractiveQueryGenerator().generate(self.passages, 12, seed)
        kept, _ = filter_queries(written, self.passages, curated=self._answers)
        chance = random.Random(seed)  # noqa: S311 (not for secrets)
        return build_pairs(
            self.passages,
            [_choose(own, variant, chance) for own in kept],
            train_share=0.8,
            eval_share=0.01,
            held_out={key for ids in self._answers.values() for key in ids},
        )

    def train(self, variant: Variant, seed: int) -> tuple[Path, int]:
        """Fine-tune by a variant; the model's folder, and how many pairs it saw."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from include.retriever.finetuning.hardware import Hardware
        from include.retriever.finetuning.run import fine_tune
        from include.retriever.recipe import Recipe

        pairs = self.pairs(variant, seed)
        if variant.round_trip:
            pairs = self._found(pairs, variant.round_trip)
        train = pairs.filter(pc.field("split") == "train")
        order = list(range(len(train)))
        random.Random(seed).shuffle(order)  # noqa: S311 (not for secrets)
        train = train.take(pa.array(order[: self._work.pairs or None]))
        folder, _ = fine_tune(
            self.base,
            pa.concat_tables([train, pairs.filter(pc.field("split") == "eval")]),
            base=self._manifest,
            training_id="benchmark",
            snapshot_id="benchmark",
            recipe=Recipe(seed=seed, **LOCAL | variant.recipe),
            hardware=Hardware(device="cpu", threads=self._work.threads),
            work=self._temporary / "training",
        )
        return folder, len(train)

    def ask(self, folder: Path) -> dict[str, pa.Table]:
        """What a model answers to each set of queries, in the shape of the evaluation's results."""
        import pyarrow.compute as pc

        from include.evaluation.metrics import evaluate
        from include.evaluation.queries import QuerySet, load_curated
        from include.evaluation.words import rank_table, read_ranked
        from include.retriever.composition import encode_documents

        encoder = self._encoder(folder)
        vectors = encode_documents(encoder, self.texts, batch_size=0)
        sets = [load_curated(self.curated, set(self.ids)).query_set] if self.curated else []
        rows = self.pairs(VARIANTS[PLAIN], SEED).filter(pc.field("split") == "test").to_pylist()
        random.Random(SEED).shuffle(rows)  # noqa: S311 (not for secrets)
        rows = rows[:TEST_QUERIES]
        columns = {key: [row[key] for row in rows] for key in ("query", "episode_id", "origin", "positive")}
        sets.append(
            QuerySet(
                "test",
                columns["query"],
                [[key] for key in columns["episode_id"]],
                columns["origin"],
                columns["positive"],
            )
        )
        words = rank_table(self.episodes, sets)
        return {
            one.name: evaluate(
                one,
                model_version=folder.name,
                queries=encoder.encode(one.queries, kind="query"),
                catalogue=vectors,
                ids=self.ids,
                positives=encode_documents(encoder, one.positives, batch_size=0) if one.positives else None,
                lexical=read_ranked(words, one),
                weight=WEIGHT,
            ).results
            for one in sets
        }

    def _found(self, pairs: pa.Table, k: int) -> pa.Table:
        import pyarrow as pa

        from include.episodes.schema import content_hash
        from include.queries.roundtrip import Catalogue, round_trip

        encoder = self._encoder(self.base)
        catalogue = Catalogue(self.ids, [content_hash(text) for text in self.texts], encoder.encode(self.texts))
        kept = round_trip(pairs, catalogue, encoder.encode, k=k, encode_queries=partial(encoder.encode, kind="query"))
        return pairs.filter(pa.array(kept.keep))

    def _encoder(self, folder: Path) -> Any:
        from include.retriever.encoders.opening import open_folder

        return open_folder(folder, "float32", "cpu", threads=self._work.threads, cache=self._temporary / "converted")


def table(folder: Path, names: list[str], seeds: int) -> str:
    """The variants as a table: means over the seeds, and how MRR@30 differs from the plain recipe's."""
    from include.evaluation.metrics import MEASURES, clusters, interval

    plain = _answers(folder, PLAIN, seeds)
    lines = []
    for name in [BASE, *names]:
        own = _answers(folder, name, 1 if name == BASE else seeds)
        cells = []
        for query_set, answers in own.items():
            means = {key: sum(one[key].to_numpy() for one in answers) / len(answers) for key in MEASURES}
            cells += [f"{means[key].mean():.3f}" for key in SHOWN]
            if name == PLAIN or query_set not in plain:
                cells.append("")
                continue
            reference = sum(one["mrr@30"].to_numpy() for one in plain[query_set]) / len(plain[query_set])
            gain = interval(means["mrr@30"] - reference, clusters(answers[0]))
            cells.append(f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})")
        pairs = json.loads((folder / _slug(name, SEED) / "figures.json").read_text())["pairs"]
        lines.append(f"| {name} | {pairs or ''} | {' | '.join(cells)} |")
    heads = [f"{query_set} {key}" for query_set in plain for key in ("R@1", "R@30", "MRR@30", "MRR@30 vs. plain")]
    return "\n".join([f"| variant | pairs | {' | '.join(heads)} |", "| --- " * (len(heads) + 2) + "|", *lines])


def _answers(folder: Path, name: str, seeds: int) -> dict[str, list[pa.Table]]:
    """The answers of a variant by query set, a seed each."""
    import pyarrow.parquet as pq

    found: dict[str, list[pa.Table]] = {}
    for number in range(seeds):
        for query_set in ("curated", "test"):
            file = folder / _slug(name, SEED + number) / f"{query_set}.parquet"
            if file.is_file():
                found.setdefault(query_set, []).append(pq.read_table(file))
    return found


def _choose(queries: list[Query], variant: Variant, chance: random.Random) -> list[Query]:
    """So many queries of the wanted origins, as different as can be: a second of one origin only when all had one."""
    own = [query for query in queries if query.origin in variant.origins]
    first = {query.origin: query for query in reversed(own)}
    leading = [first[origin] for origin in sorted(first)]
    chance.shuffle(leading)
    return [*leading, *(query for query in own if query not in leading)][: variant.queries]


def _slug(name: str, seed: int) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name) + f"-{seed}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, required=True, help="folder for what is measured")
    parser.add_argument("--variants", nargs="+", default=[], help="those with one of these texts in their name (all)")
    parser.add_argument("--dataset", type=Path, help="podcasts.csv and episodes.csv (default: the bundled sample)")
    parser.add_argument("--episodes", type=int, default=0, help="of the dataset; 0: all (%(default)s)")
    parser.add_argument("--pairs", type=int, default=0, help="to train on, at most; 0: all (%(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each variant (%(default)s)")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="base model (%(default)s)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
