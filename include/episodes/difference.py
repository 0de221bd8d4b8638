"""What changed between two snapshots.

A module of its own: few tasks compare snapshots, most look at one, and importing Polars may take longer than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from include.episodes.snapshot import INDEXED, load, read
from include.storage import ArtifactStore


@dataclass(frozen=True, eq=False)
class Difference:
    """Episode ids that differ between two snapshots, by what the index holds of them; each series is sorted.

    ``changed`` has every episode whose record differs; ``reembedded`` those of them whose text differs.
    """

    added: pl.Series
    changed: pl.Series
    reembedded: pl.Series
    removed: pl.Series
    unchanged: int


def difference(store: ArtifactStore, previous: str | None, snapshot_id: str) -> Difference:
    """What must happen to an index of ``previous`` to become one of ``snapshot_id``.

    Memory is that of the ids that differ and of one shard's records, if both have the same number of shards.
    """
    new = load(store, snapshot_id)
    old = load(store, previous) if previous else None
    found = _Found()
    same = old is not None and old.shards == new.shards
    for shards in [[shard] for shard in range(new.shards)] if same or old is None else [None]:
        records = _records(store, snapshot_id, shards)
        found.compare(_records(store, previous, shards) if previous else records.clear(), records)
    # What left one shard may have come to another: its show has another id now.
    found.settle()
    return found.difference()


def _records(store: ArtifactStore, snapshot_id: str, shards: Sequence[int] | None) -> pl.DataFrame:
    """Ids, hashes of the texts, and hashes of the whole records: what they are compared by, and little to hold."""
    records = pl.from_arrow(read(store, snapshot_id, columns=["episode_id", *INDEXED], shards=shards))
    assert isinstance(records, pl.DataFrame)
    # Of 64 bits, and the same within a process only, which is all that a comparison needs.
    hashes = [records["content_hash"].hash(seed=0).alias("text"), records.select(INDEXED).hash_rows(seed=0)]
    return pl.DataFrame([records["episode_id"], hashes[0], hashes[1].alias("record")])


class _Found:
    """What was found out about two snapshots so far; ``added`` and ``removed`` are as :func:`_records` gives them."""

    def __init__(self) -> None:
        empty = pl.DataFrame(schema={"episode_id": pl.String, "text": pl.UInt64, "record": pl.UInt64})
        self.added, self.removed = empty, empty
        self.changed = pl.DataFrame(schema={"episode_id": pl.String, "reembedded": pl.Boolean})
        self.kept = 0

    def compare(self, old: pl.DataFrame, new: pl.DataFrame) -> None:
        """Take in two sets of records."""
        both = old.join(new, on="episode_id", suffix="_new")
        changed = both.filter(pl.col("record") != pl.col("record_new"))
        reembedded = (pl.col("text") != pl.col("text_new")).alias("reembedded")
        self.changed = self.changed.vstack(changed.select("episode_id", reembedded))
        self.added = self.added.vstack(new.join(old, on="episode_id", how="anti"))
        self.removed = self.removed.vstack(old.join(new, on="episode_id", how="anti"))
        self.kept += both.height

    def settle(self) -> None:
        """Compare what was removed from some shards with what was added to others."""
        old, new = self.removed, self.added
        if old.height and new.height:
            self.added, self.removed = new.clear(), old.clear()
            self.compare(old, new)

    def difference(self) -> Difference:
        return Difference(
            added=self.added["episode_id"].sort(),
            changed=self.changed["episode_id"].sort(),
            reembedded=self.changed.filter("reembedded")["episode_id"].sort(),
            removed=self.removed["episode_id"].sort(),
            unchanged=self.kept - self.changed.height,
        )
