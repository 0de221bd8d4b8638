"""How often the gate is right: its decisions on queries drawn from a real comparison of two models.

``gate_ranks.csv`` has the ranks at which the base model and a fine-tuned one found the right episode, query by query,
on the sample. From these, sets of queries are drawn with replacement, as if others had been written, for models whose
truth is known:

* **equal**: query by query, chance decides which of the two models is the candidate, so that neither is better; *
**better**: the fine-tuned model against the base model; * **worse**: equal, but the candidate loses enough right
episodes that Recall@30 falls by twice the tolerance, and MRR@30 by less: the bad model that is hardest to detect.

The rule that the gate replaced is shown for comparison: the 95 % bound of each difference had to be above the
tolerance.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats

if TYPE_CHECKING:
    import pyarrow as pa

RANKS = Path(__file__).with_name("gate_ranks.csv")
SIZES = (7, 20, 63, 150, 250, 500)
TEST_QUERIES = 500
TOLERANCE = 0.05

Ranks = npt.NDArray[np.int64]
Draw = Callable[[Ranks, Ranks, np.random.Generator], tuple[Ranks, Ranks]]
"""Ranks of base and fine-tuned model in, of candidate and incumbent out."""


def equal(base: Ranks, tuned: Ranks, rng: np.random.Generator) -> tuple[Ranks, Ranks]:
    heads = rng.random(len(base)) < 0.5
    return np.where(heads, base, tuned), np.where(heads, tuned, base)


def better(base: Ranks, tuned: Ranks, rng: np.random.Generator) -> tuple[Ranks, Ranks]:
    return tuned, base


def worse(base: Ranks, tuned: Ranks, rng: np.random.Generator) -> tuple[Ranks, Ranks]:
    candidate, incumbent = equal(base, tuned, rng)
    share = 2 * TOLERANCE / metrics(np.concatenate([base, tuned]))["recall@30"].mean()
    return np.where(rng.random(len(base)) < share, 1_000, candidate), incumbent


MODELS: dict[str, Draw] = {"equal": equal, "better": better, "worse": worse}


def metrics(ranks: Ranks) -> dict[str, npt.NDArray[np.float64]]:
    found = ranks <= 30
    return {"mrr@30": np.where(found, 1 / ranks, 0.0), "recall@30": found.astype(np.float64)}


def results(ranks: Ranks) -> pa.Table:
    """Per-query results as far as the gate reads them, each query asking for an episode of its own."""
    import pyarrow as pa

    names = [str(row) for row in range(len(ranks))]
    columns = {"query_set": ["drawn"] * len(ranks), "query": names, "relevant": [[name] for name in names]}
    return pa.table({**columns, **metrics(ranks)})


def bound_passes(candidate: pa.Table, reference: pa.Table) -> bool:
    """The rule before: non-inferiority by the one-sided 95 % bound of each metric."""
    from include.evaluation.gate import CHECKED, POWER

    passed = True
    for metric in CHECKED:
        change = candidate[metric].to_numpy() - reference[metric].to_numpy()
        error = change.std(ddof=1) / np.sqrt(len(change))
        passed &= bool(change.mean() - stats.norm.isf(1 - POWER) * error >= -TOLERANCE)
    return passed


def simulate(
    recorded: dict[str, tuple[Ranks, Ranks]], sizes: dict[str, int], draw: Draw, *, draws: int, seed: int
) -> dict[str, float]:
    """Shares of the draws: passed, passed by the rule before, power enough; and of those with power, passed."""
    from include.evaluation.gate import POWER, decide

    rng = np.random.default_rng(seed)
    passed, before, sure = (np.zeros(draws, bool) for _ in range(3))
    for turn in range(draws):
        candidate, reference = {}, {}
        for query_set, size in sizes.items():
            base, tuned = recorded[query_set]
            rows = rng.integers(0, len(base), size)
            new, old = draw(base[rows], tuned[rows], rng)
            candidate[query_set], reference[query_set] = results(new), results(old)
        decision = decide(candidate, reference, tolerance=TOLERANCE)
        passed[turn] = decision.passed
        before[turn] = all(bound_passes(candidate[name], reference[name]) for name in sizes)
        sure[turn] = decision.power >= POWER
    return {
        "passed": round(float(passed.mean()), 3),
        "passed_before": round(float(before.mean()), 3),
        "enough_queries": round(float(sure.mean()), 3),
    }


def recorded_ranks(path: Path = RANKS) -> dict[str, tuple[Ranks, Ranks]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        query_set: tuple(  # type: ignore[misc]
            np.array([int(row[model]) for row in rows if row["query_set"] == query_set]) for model in ("base", "tuned")
        )
        for query_set in ("test", "curated")
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--draws", type=int, default=1_000, help="sets of queries drawn for each line (default: 1000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recorded = recorded_ranks()
    lines = []
    print("| test queries | curated queries | candidate is | passes | passed before | enough queries |")
    print("| ---: | ---: | --- | ---: | ---: | ---: |")
    for tests in (0, TEST_QUERIES):
        for size in SIZES:
            sizes = {"curated": size} | ({"test": tests} if tests else {})
            for name, draw in MODELS.items():
                shares = simulate(recorded, sizes, draw, draws=options.draws, seed=options.seed)
                lines.append({"test": tests, "curated": size, "candidate": name, **shares})
                cells = " | ".join(f"{100 * share:.1f} %" for share in shares.values())
                print(f"| {tests} | {size} | {name} | {cells} |", flush=True)
    print(json.dumps({"tolerance": TOLERANCE, "draws": options.draws, "lines": lines}))


if __name__ == "__main__":
    main()
