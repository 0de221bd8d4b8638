from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
import pyarrow as pa
import pytest

from include.episodes.schema import EPISODES, compose_text, content_hash
from include.quality import frames, suites
from include.quality.result import QualityResult
from include.quality.run import validate
from include.retriever.pairs import PAIRS
from include.storage import ArtifactStore

ROWS = 200
SHARES = {"max_quarantined_share": 0.35, "max_shrink": 0.2}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


@pytest.fixture
def podcasts() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "uuid": f"p{n}",
                "title": f"Show {n}",
                "description": f"All about the number {n}",
                "language": "English",
                "image": None,
                "categories": "Arts",
                "website": None,
                "author": None,
                "itunes_id": str(n),
            }
            for n in range(ROWS)
        ],
        dtype=pd.StringDtype("pyarrow"),
    )


@pytest.fixture
def raw_episodes() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "uuid": f"e{n}",
                "title": f"Episode {n}",
                "audio": f"https://example.org/{n}.mp3",
                "audio_length": "1800",
                "pub_date": "2017-12-01 05:00:00+00",
                "description": f"In this one we talk about {n}",
                "podcast_uuid": f"p{n % 7}",
            }
            for n in range(ROWS)
        ],
        dtype=pd.StringDtype("pyarrow"),
    )


@pytest.fixture
def episodes() -> pa.Table:
    """Prepared episodes."""
    rows = []
    for n in range(ROWS):
        title, description, show = f"Episode {n}", f"In this one we talk about {n}", f"Show {n % 7}"
        text = compose_text(title, description, show, "A show")
        rows.append(
            {
                "episode_id": f"e{n}",
                "podcast_id": f"p{n % 7}",
                "title": title,
                "description": description,
                "show_title": show,
                "show_description": "A show",
                "language": "English",
                "categories": "Arts",
                "published_at": datetime(2017, 12, 1, tzinfo=UTC),
                "duration_seconds": 1800,
                "audio_url": None,
                "text": text,
                "content_hash": content_hash(text),
            }
        )
    return pa.Table.from_pylist(rows, EPISODES)


@pytest.fixture
def pairs() -> pa.Table:
    """Two training pairs an episode."""
    return pa.Table.from_pylist(
        [
            {
                "query": f"{word} {n}",
                "episode_id": f"e{n}",
                "split": ("train", "train", "eval", "test")[n % 4],
                "origin": "doc2query",
                "positive": f"In this one we talk about {n}",
                "group": f"g{n}",
                "weight": 1.0,
            }
            for n in range(ROWS // 2)
            for word in ("why is there", "talk about")
        ],
        PAIRS,
    )


Check = Callable[..., QualityResult]


@pytest.fixture
def check(store: ArtifactStore, podcasts: pd.DataFrame) -> Check:
    """Validate a table with its suite under the thresholds given, or plausible ones."""

    def run(suite: str, table: pd.DataFrame | pa.Table, *, run_name: str = "run", **limits: Any) -> QualityResult:
        frame, built = _build(suite, table, podcasts, limits)
        return validate(frame, built, store=store, run_name=run_name)

    return run


def _build(
    suite: str, table: Any, podcasts: pd.DataFrame, limits: dict[str, Any]
) -> tuple[pd.DataFrame, gx.ExpectationSuite]:
    if suite == "queries":
        return _build_queries(table, limits)
    common = {**SHARES, "rows_read": len(table), "previous_rows": len(table), **limits}
    if suite == "raw_podcasts":
        return frames.raw_podcasts(_as_read(table)), suites.raw_podcasts(**{"malformed": 0, **common})
    if suite == "raw_episodes":
        frame = frames.raw_episodes(_as_read(table), pa.chunked_array([podcasts["uuid"]]))
        return frame, suites.raw_episodes(**{"malformed": 0, **common})
    frame = frames.prepared_episodes(table.to_reader())
    return frame, suites.episodes(**{"quarantined": 0, "max_text_chars": 20_000, **common})


def _build_queries(table: pa.Table, limits: dict[str, Any]) -> tuple[pd.DataFrame, gx.ExpectationSuite]:
    """The limits that are not the suite's own are facts about the table."""
    ids = table["episode_id"].unique().to_pylist()
    facts: dict[str, Any] = {"languages": dict.fromkeys(ids, "English"), "episodes": len(ids), "dropped": 0}
    suite_limits = {"max_dropped_share": 0.8} | {key: value for key, value in limits.items() if key.endswith("_share")}
    facts |= {key: value for key, value in limits.items() if key not in suite_limits}
    return frames.queries(table, **facts), suites.queries(**suite_limits)


def _as_read(table: pd.DataFrame) -> pa.RecordBatchReader:
    """A raw table as a file is read: batch by batch, each column strings."""
    schema = pa.schema([(name, pa.string()) for name in table.columns])
    return pa.Table.from_pandas(table, schema, preserve_index=False).to_reader(max_chunksize=64)
