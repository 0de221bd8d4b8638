"""Training pairs: which query must find which text, and on which side of the split it stands."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa

from include.queries.contract import Passage, Query
from include.queries.logs import LoggedQuery
from include.storage import digest

PAIRS = pa.schema(
    [
        pa.field("query", pa.string(), nullable=False),
        pa.field("episode_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("positive", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
    ]
)
"""`positive` is the text the query must find (see Query); `group` is shared by episodes with nearly one description;
`weight` is 1 for a generated query, and says how often a logged one happened."""

MIN_EVAL_EPISODES = 24
"""On small catalogues the eval share grows until it holds about so many episodes, or its metrics would be dice."""


def near_duplicate_group(passage: Passage) -> str:
    """A name that episodes share when their descriptions differ only in case, digits and punctuation.

    Episodes of one group stand on one side of the split and never meet in a batch, where they would be false negatives.
    """
    return digest(" ".join(re.findall(r"[^\W\d_]+", passage.description.casefold())), length=16)


def split_of(group: str, *, train_share: float, eval_share: float) -> str:
    """The split of a group: a stable hash, so that a test episode stays a test episode in every later version."""
    drawn = place("split", group)
    if drawn < train_share:
        return "train"
    return "eval" if drawn < train_share + eval_share else "test"


def place(purpose: str, key: str) -> float:
    """Where something stands between 0 and 1, for good."""
    hashed = hashlib.sha256(f"{purpose}:{key}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") / 2**64


def build_pairs(
    passages: Sequence[Passage],
    queries: Sequence[Sequence[Query]],
    *,
    train_share: float,
    eval_share: float,
    held_out: Collection[str] = (),
    logs: Mapping[str, Sequence[LoggedQuery]] | None = None,
) -> pa.Table:
    """Pairs of all passages, split by episode.

    :param held_out: episodes that answer curated queries; they are only ever tested on.
    :param logs: queries of search logs by episode; they stand on the side of their episode, as generated ones do. Of
        episodes that are not among the passages nothing is used.
    :returns: a table in the shape of :data:`PAIRS`.
    """
    eval_share = max(eval_share, min(MIN_EVAL_EPISODES / max(len(passages), 1), (1 - train_share) / 2))
    held_out_groups = {near_duplicate_group(passage) for passage in passages if passage.episode_id in held_out}
    rows: list[dict[str, Any]] = []
    for passage, own in zip(passages, queries, strict=True):
        group = near_duplicate_group(passage)
        split = split_of(group, train_share=train_share, eval_share=eval_share)
        if group in held_out_groups:
            split = "test"
        weighted = [(query, 1.0) for query in own]
        weighted += [(entry.find(passage), entry.weight) for entry in (logs or {}).get(passage.episode_id, ())]
        rows.extend(
            {
                "query": query.text,
                "episode_id": passage.episode_id,
                "split": split,
                "origin": query.origin,
                "positive": query.positive,
                "group": group,
                "weight": weight,
            }
            for query, weight in weighted
        )
    return pa.Table.from_pylist(rows, schema=PAIRS)


def as_pairs(stored: pa.Table) -> pa.Table:
    """A stored table in the shape of :data:`PAIRS`; one that is older than weights gets a weight of 1 for each pair."""
    if "weight" not in stored.column_names:
        stored = stored.append_column("weight", pa.repeat(1.0, len(stored)))
    return stored.select(PAIRS.names).cast(PAIRS)


def count_by(pairs: pa.Table, column: str) -> dict[str, int]:
    """How many pairs there are of each value of a column, most first."""
    return dict(Counter(pairs[column].to_pylist()).most_common())
