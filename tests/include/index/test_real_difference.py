"""The two versions of a real catalogue: an index of the first becomes one of the second by their difference alone.

Its vectors are made from the texts' hashes, for no model is needed to see what is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from include.episodes import snapshot
from include.index.contract import EpisodeIndex
from include.index.live import require_live
from include.index.pinecone.credentials import Credentials
from include.index.pinecone.index import PineconeIndex
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import prepare_in_memory, write_snapshot
from tests.include.index.pinecone.conftest import QUICK
from tests.include.index.workshop import NAMESPACE, RecordingIndex, expected, reindex
from tests.standins.pinecone import PineconeStandIn

Counted = tuple[EpisodeIndex, list[str], list[str]]
"""An index, and the ids that it has been given to write and to delete."""

pytestmark = pytest.mark.dataset


@pytest.fixture(scope="module")
def versions() -> list[pa.Table]:
    """The episodes of both that are not in quarantine."""
    root = os.environ.get("PODSEARCH_TEST_DATASETS")
    if not root:
        pytest.skip("PODSEARCH_TEST_DATASETS is not set")
    return [prepare_in_memory(Path(root) / name).episodes for name in ("version-1", "version-2")]


@contextmanager
def embedded(folder: Path) -> Iterator[Counted]:
    index = RecordingIndex(str(folder))
    index.exact_rows = 10**6  # building an approximate index of so many takes a minute
    yield index, index.upserted, index.deleted


@contextmanager
def hosted(_: Path) -> Iterator[Counted]:
    with PineconeStandIn().serve() as standin:
        index = PineconeIndex("podsearch", Credentials(standin.key, host=standin.host), patience=QUICK)
        yield index, standin.written, standin.deleted


def publish(store: ArtifactStore, episodes: pa.Table) -> str:
    manifest = write_snapshot(store, episodes, source_version="v", shards=4, counts={}, quarantined={})
    return snapshot.publish(store, manifest.snapshot_id).snapshot_id


@pytest.mark.parametrize("opened", [embedded, hosted])
def test_exactly_the_difference_is_written(
    versions: list[pa.Table], tmp_path: Path, opened: Callable[[Path], AbstractContextManager[Counted]]
) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    first, second = [{row["episode_id"]: row for row in table.to_pylist()} for table in versions]
    new = second.keys() - first.keys()
    edited = {
        key
        for key in second.keys() & first.keys()
        if any(second[key][name] != first[key][name] for name in snapshot.INDEXED)
    }
    withdrawn = first.keys() - second.keys()
    # Of 1,231 new episodes, 200 edits and 100 withdrawals, some are in quarantine; an edit can lead into it, or out.
    assert 1_000 < len(new) < 1_300
    assert 100 < len(edited) <= 200
    assert 50 < len(withdrawn) < 150

    with opened(tmp_path / "index") as (index, written, deleted):
        publish(store, versions[0])
        assert reindex(store, index).action == "full"
        assert (sorted(written), deleted) == (sorted(first), [])
        written.clear()
        latest = publish(store, versions[1])
        plan = reindex(store, index)
        assert plan.action == "difference"
        assert sorted(written) == sorted(new | edited)
        assert sorted(deleted) == sorted(withdrawn)
        assert require_live(store).snapshot_id == latest
        assert set(index.list_ids(NAMESPACE)) == second.keys()
        found = index.fetch(NAMESPACE, sorted(new | edited))
        for key, (vector, metadata) in expected(second[key] for key in new | edited).items():
            assert found[key].metadata == index.kept(metadata)
            np.testing.assert_allclose(found[key].values, vector, atol=1e-4)  # Pinecone's client sends decimals
