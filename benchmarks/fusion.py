"""What combining vectors and words gains, by several methods: exact search over a catalogue, curated queries.

Each method is compared with vectors alone, query by query, with a 95 % interval. Vectors are kept in ``--results`` and
not computed again. ``python -m benchmarks.fusion --help``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.catalogue import ingested

if TYPE_CHECKING:
    import pyarrow as pa

    from include.evaluation.queries import QuerySet
    from include.index.fusion import Scored

SAMPLE = Path(__file__).resolve().parents[1] / "include" / "sample"
SHOWN = ("recall@1", "recall@30", "mrr@30")
WEIGHTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
Way = Callable[[str, "Scored", "Scored"], list[str]]
"""A query and the answers of vectors and of words to one answer."""
Scale = Callable[["Scored"], Mapping[str, float]]


def main() -> None:
    arguments = _arguments()
    os.environ |= {"TOKENIZERS_PARALLELISM": "false"}
    arguments.results.mkdir(parents=True, exist_ok=True)
    columns = ["episode_id", "title", "show_title", "description", "categories", "show_description", "text"]
    table = ingested(arguments.dataset, arguments.results / "ingested", columns=columns)
    from include.evaluation.queries import load_curated

    curated, left_out = load_curated(arguments.curated, set(table["episode_id"].to_pylist()))
    print(f"{len(table):,} episodes, {len(curated)} queries; {left_out} have no answer among them.")
    dense = _nearest(table, curated, arguments)
    lexical = _words(table, curated)
    reference = _measured(curated, [[key for key, _ in answer] for answer in dense])
    lines = ["| way | R@1 | R@30 | MRR@30 | R@30 to vectors alone | MRR@30 to vectors alone |", "| --- " * 6 + "|"]
    for name, way in _ways(len(table)).items():
        asked = zip(curated.queries, dense, lexical, strict=True)
        own = _measured(curated, [way(query, near, said) for query, near, said in asked])
        lines.append(_line(name, own, reference))
    print("\n".join(lines))


def _ways(episodes: int) -> dict[str, Way]:
    from include.index.fusion import fuse, together

    def trusted(weight: float) -> Way:
        return lambda query, near, said: [
            one.episode_id for one in together(query, near, said, weight=weight, episodes=episodes)
        ]

    def scaled(weight: float) -> Way:
        return lambda _, near, said: [one.episode_id for one in fuse(near, said, weight=weight)]

    def reciprocal(k: int) -> Scale:
        return lambda answer: {key: 1 / (k + rank) for rank, (key, _) in enumerate(answer, start=1)}

    def combined(scale: Scale, weight: float) -> Way:
        def way(_: str, near: Scored, said: Scored) -> list[str]:
            one, other = scale(near), scale(said)
            scores = {key: weight * one.get(key, 0) + (1 - weight) * other.get(key, 0) for key in {**one, **other}}
            return sorted(scores, key=lambda key: (-scores[key], key))

        return way

    ways: dict[str, Way] = {
        "vectors alone": lambda _, near, said: [key for key, _ in near],
        "words alone": lambda _, near, said: [key for key, _ in said],
    }
    for k in (10, 60):
        ways[f"reciprocal ranks, k {k}"] = combined(reciprocal(k), 0.5)
    for weight in WEIGHTS:
        ways[f"z-scores, {weight}"] = combined(_z_scores, weight)
    for weight in WEIGHTS:
        ways[f"min-max, {weight}"] = scaled(weight)
    for weight in WEIGHTS:
        ways[f"min-max, words weighted by fit, {weight}"] = trusted(weight)
    return ways


def _z_scores(answer: Scored) -> Mapping[str, float]:
    scores = np.array([score for _, score in answer])
    if not len(scores) or not scores.std():
        return {key: 3.0 for key, _ in answer}
    # Moved so that what a side does not have is at three deviations below its mean.
    return {key: max(3 + (score - scores.mean()) / scores.std(), 0.0) for key, score in answer}


def _nearest(table: pa.Table, curated: QuerySet, arguments: argparse.Namespace) -> list[Scored]:
    from include.evaluation.ranking import rank
    from include.index.fusion import DEPTH
    from include.retriever.composition import encode_documents
    from include.retriever.encoders.opening import open_folder
    from include.retriever.registry import base_folder

    encoder = open_folder(base_folder(arguments.model), "float32", "cpu", cache=arguments.results / "converted")
    file = arguments.results / f"vectors-{len(table)}.npy"
    if not file.is_file():
        np.save(file, encode_documents(encoder, table["text"].to_pylist(), batch_size=0))
    queries = encoder.encode(curated.queries, kind="query")
    found = rank(queries, np.load(file), table["episode_id"].to_pylist(), k=DEPTH)
    return [list(zip(ids, scores, strict=True)) for ids, scores in zip(found.ids, found.scores.tolist(), strict=True)]


def _words(table: pa.Table, curated: QuerySet) -> list[Scored]:
    from include.evaluation.words import rank_table, read_ranked

    return read_ranked(rank_table(table, [curated]), curated)


def _measured(curated: QuerySet, answers: Sequence[Sequence[str]]) -> pa.Table:
    from include.evaluation.metrics import per_query

    return per_query(curated, answers, np.zeros(len(answers), np.int64))


def _line(name: str, own: pa.Table, reference: pa.Table) -> str:
    from include.evaluation.metrics import clusters, interval

    cells = [f"{own[metric].to_numpy().mean():.3f}" for metric in SHOWN]
    for metric in ("recall@30", "mrr@30"):
        gain = interval(own[metric].to_numpy() - reference[metric].to_numpy(), clusters(own))
        cells.append(f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})")
    return f"| {name} | {' | '.join(cells)} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fusion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, required=True, help="folder for vectors, and what else is kept")
    parser.add_argument("--dataset", type=Path, default=SAMPLE, help="podcasts.csv and episodes.csv (the sample)")
    parser.add_argument(
        "--curated", type=Path, default=SAMPLE / "curated_queries.csv", help="queries with answers (the sample's)"
    )
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="base model (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
