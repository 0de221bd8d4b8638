"""The profile of a snapshot: a few figures that describe its catalogue, for comparison with earlier ones.

A profile lies beside the snapshot it describes, ``snapshots/<id>/profile.json``, and is written before the snapshot is
published. The profiles of published snapshots are the history that drift is measured against.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel

from include.episodes import snapshot
from include.episodes.schema import IN_HTML
from include.storage import ArtifactStore

FILE = "profile.json"
NULLABLE = (
    "description",
    "show_description",
    "language",
    "categories",
    "published_at",
    "duration_seconds",
    "audio_url",
)
"""The columns that an episode may lack."""
LANGUAGE_NAME = r"^[^\W\d_][\w '’(),.-]{1,39}$"
"""The name of a language ("English", "Norwegian (Bokmål)") or its code ("en", "pt-BR")."""
LANGUAGES = 30
"""Languages counted by name, at most; the others are "other"."""
BATCH_ROWS = 16_384
COLUMNS = ("content_hash", *NULLABLE)

LANGUAGE = "language: "
REASON = "in quarantine: "
"""How the figures of a language, and of a reason for quarantine, are named before its own name."""
NEWEST = "newest episode"

log = logging.getLogger(__name__)

Figures = dict[str, float | datetime]
"""Figures by name: numbers as floats, shares in percent, dates."""


class Profile(BaseModel):
    """Figures of one snapshot."""

    snapshot_id: str
    source_version: str
    created_at: datetime
    starts_history: bool = False
    """A person accepted that this catalogue differs from earlier ones: neither it nor a later one is compared with
    them."""
    rows_read: int
    """Rows of both files of the dataset."""
    episodes: int
    shows: int
    languages: dict[str, int]
    """Episodes in each language, the most frequent first."""
    description_chars_median: float
    description_chars_mean: float
    markup: int | None
    """Episodes whose description was HTML; None where that was not counted."""
    repeated: int
    """Episodes whose text another episode has, too: all of them but one."""
    newest_published_at: datetime | None
    """The newest publication date, but for those in the future, which are announced or mistaken."""
    quarantined: dict[str, int]
    """Rows in quarantine by reason."""
    nulls: dict[str, int]
    """Episodes without a value in each column of :data:`NULLABLE`."""

    def figures(self) -> Figures:
        """The figures by name; unknown ones are left out."""
        found: Figures = {"episodes": float(self.episodes), "shows": float(self.shows)}
        if self.newest_published_at:
            found[NEWEST] = self.newest_published_at
        if self.rows_read:
            found["in quarantine"] = 100 * sum(self.quarantined.values()) / self.rows_read
            found |= {f"{REASON}{key}": 100 * n / self.rows_read for key, n in self.quarantined.items()}
        if not self.episodes:
            return found
        found["description length, median"] = self.description_chars_median
        found["description length, mean"] = self.description_chars_mean
        shares = {f"{LANGUAGE}{name}": count for name, count in self.languages.items()}
        shares |= {f"without {name}": count for name, count in self.nulls.items()}
        shares["repeated texts"] = self.repeated
        if self.markup is not None:
            shares["descriptions in HTML"] = self.markup
        return found | {name: 100 * count / self.episodes for name, count in shares.items()}


def record(store: ArtifactStore, snapshot_id: str, *, starts_history: bool) -> Profile:
    """Compute the profile of a written snapshot and store it beside it.

    :param starts_history: a person accepted its drift. What was accepted once stays so when it is validated again.
    """
    known = load(store, snapshot_id)
    accepted = starts_history or (known is not None and known.starts_history)
    profile = make(store, snapshot_id).model_copy(update={"starts_history": accepted})
    store.write_json(profile.model_dump(mode="json"), snapshot.FOLDER, snapshot_id, FILE)
    return profile


def make(store: ArtifactStore, snapshot_id: str) -> Profile:
    """Compute the profile of a written snapshot, batch by batch: what stays in memory is a length and a hash per
    row."""
    manifest = snapshot.load(store, snapshot_id)
    tomorrow = manifest.created_at.astimezone(UTC) + timedelta(days=1)
    languages: Counter[str] = Counter()
    nulls = Counter(dict.fromkeys(NULLABLE, 0))
    newest: datetime | None = None
    lengths, hashes = [np.empty(0, np.int32)], [pa.array([], pa.string())]
    for batch in _batches(store, manifest):
        lengths.append(pc.utf8_length(batch["description"].drop_null()).to_numpy(zero_copy_only=False).astype(np.int32))
        hashes.append(batch["content_hash"])
        nulls.update({name: batch[name].null_count for name in NULLABLE})
        languages.update(_count(batch["language"]))
        newest = max(filter(None, (newest, _newest(batch["published_at"], tomorrow))), default=None)
    chars = np.concatenate(lengths)
    return Profile(
        snapshot_id=snapshot_id,
        source_version=manifest.source_version,
        created_at=manifest.created_at,
        rows_read=sum(manifest.counts.get(f"{file}_read", 0) for file in ("podcasts", "episodes")),
        episodes=manifest.episodes,
        shows=manifest.shows,
        languages=_most_frequent(languages),
        description_chars_median=float(np.median(chars)) if len(chars) else 0.0,
        description_chars_mean=round(float(chars.mean()), 1) if len(chars) else 0.0,
        markup=manifest.counts.get(IN_HTML),
        repeated=manifest.episodes - pc.count_distinct(pa.chunked_array(hashes)).as_py(),
        newest_published_at=newest,
        quarantined=manifest.quarantined,
        nulls=dict(nulls),
    )


def published(store: ArtifactStore, *, window: int, before: str | None = None) -> list[Profile]:
    """The profiles of the last published snapshots, the oldest first.

    :param window: how many, at most.
    :param before: a snapshot that is not counted among them: the one that is held against them.
    """
    ids = [item.snapshot_id for item in snapshot.publications(store) if item.snapshot_id != before]
    return [profile for key in ids[-window:] if (profile := load(store, key))]


def load(store: ArtifactStore, snapshot_id: str) -> Profile | None:
    """The stored profile of a snapshot. A damaged one counts as missing: the history can do without it."""
    file = (snapshot.FOLDER, snapshot_id, FILE)
    try:
        found = store.read_json_if_there(*file)
        return None if found is None else Profile.model_validate(found)
    except ValueError:
        log.warning("%s is damaged and left out of the history that drift is measured against.", "/".join(file))
        return None


def history(store: ArtifactStore, *, window: int, before: str | None = None) -> list[Profile]:
    """As :func:`published`, from the last one on that a person declared to be a new start, if it is among them."""
    found = published(store, window=window, before=before)
    starts = [place for place, profile in enumerate(found) if profile.starts_history]
    return found[starts[-1] :] if starts else found


def withdrawn(store: ArtifactStore, snapshot_id: str) -> float | None:
    """Percent of the published snapshot's episodes that another snapshot does not have; None if none is published."""
    latest = snapshot.latest(store)
    if latest is None:
        return None
    before, after = (
        snapshot.read(store, key, columns=["episode_id"])["episode_id"] for key in (latest.snapshot_id, snapshot_id)
    )
    kept = pc.sum(pc.is_in(before, after)).as_py() or 0
    return 100 * (1 - kept / max(len(before), 1))


def _batches(store: ArtifactStore, manifest: snapshot.Manifest) -> Iterator[pa.RecordBatch]:
    for part in manifest.parts:
        with store.path(snapshot.FOLDER, manifest.snapshot_id, part.file).open("rb") as file:
            # Without reading ahead, which would hold much more in memory and saves little.
            reader = pq.ParquetFile(file, pre_buffer=False)
            yield from reader.iter_batches(BATCH_ROWS, columns=list(COLUMNS), use_threads=False)


def _count(values: pa.Array) -> dict[str, int]:
    counts = pc.value_counts(values.drop_null())
    return dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))


def _most_frequent(counts: Counter[str]) -> dict[str, int]:
    """The most frequent languages and, as "other", all that are rarer or no language."""
    ranked = sorted((-count, name) for name, count in counts.items() if re.match(LANGUAGE_NAME, name))
    found = {name: -count for count, name in ranked[:LANGUAGES]}
    other = counts.total() - sum(found.values())
    return found | ({"other": found.get("other", 0) + other} if other else {})


def _newest(dates: pa.Array, before: datetime) -> datetime | None:
    past = dates.filter(pc.less(dates, pa.scalar(before, dates.type)))
    newest: datetime | None = pc.max(past).as_py()
    return newest
