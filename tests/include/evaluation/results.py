"""Per-query results made by hand, for the modules that work on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from include.evaluation.metrics import per_query
from include.evaluation.queries import QuerySet, QuerySetName

CATALOGUE = 200


def results_at(
    ranks: Sequence[int], *, name: QuerySetName = "test", episodes: Sequence[int] | None = None, text: str = "query"
) -> pa.Table:
    """Results of a model whose answers stand at the given ranks; queries ask for one episode each unless told."""
    numbers = list(episodes) if episodes is not None else list(range(len(ranks)))
    relevant = [f"episode {number}" for number in numbers]
    query_set = QuerySet(
        name, [f"{text} {row}" for row in range(len(ranks))], [[one] for one in relevant], ["title"] * len(ranks)
    )
    ids = []
    for rank, answer in zip(ranks, relevant, strict=True):
        others = [f"other {number:03d}" for number in range(CATALOGUE - 1)]
        ids.append([*others[: rank - 1], answer, *others[rank - 1 :]][:100])
    return per_query(query_set, ids, np.array(ranks))
