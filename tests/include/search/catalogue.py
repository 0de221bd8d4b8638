"""A small live index of real embeddings by a tiny model."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from include.episodes import snapshot
from include.index.lancedb import LanceIndex
from include.index.plan import plan_reindex
from include.index.write import encode_shard, prepare_namespace, texts_to_encode, upsert_shard, verify
from include.retriever.encoders.opening import open_encoder
from include.retriever.registry import ensure_base
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import activate
from tests.models import TOPICS, build_model

MARKUP = "[red]Is [link=file:///etc/passwd]this[/link] <b>bold</b>?[/red] \\[x]"


def make_live(home: Path) -> Path:
    """A home in which fifteen episodes are live, three a topic, the first in German, one with markup in its title."""
    store, index = ArtifactStore(home / "artifacts"), LanceIndex(str(home / "artifacts" / "index"))
    rows = []
    for row, words in enumerate(TOPICS.values()):
        for column in range(3):
            changes = {"title": MARKUP} if (row, column) == (0, 1) else {}
            rows.append(
                episode(
                    10 * row + column,
                    **{
                        "title": words[column],
                        "description": " ".join(words),
                        "show_title": words[0],
                        "show_description": None,
                        "language": "German" if column == 0 else "English",
                        "published_at": None if column == 2 else datetime(2017, 12, 1, tzinfo=UTC),
                    }
                    | changes,
                )
            )
    publish(store, rows, shards=2)
    manifest = ensure_base(store, str(build_model(home / "base")), "cpu")
    plan = plan_reindex(store, model_version=manifest.version, live=None)
    prepare_namespace(store, index, plan, manifest.dimension)
    encoder = open_encoder(store, manifest.version, "cpu")
    for shard in plan.shards:
        encode_shard(store, plan, shard, texts_to_encode(store, plan, shard), encoder, batch_size=8)
        upsert_shard(store, index, plan, shard)
    verify(store, index, plan)
    activate(store, index, plan)
    assert snapshot.latest(store) is not None
    return home
