"""A backup is a copy of the artifacts: laid on an empty machine, search answers as before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from include.index.live import require_live
from include.index.opening import open_index
from include.index.plan import forget_lost, plan_reindex
from include.index.write import texts_to_encode
from include.search.opening import open_search
from include.settings import Settings, get_settings
from include.storage import ArtifactStore
from tests.include.search.catalogue import make_live
from tests.models import TOPICS

Answers = list[list[tuple[str, float]]]
QUERIES = [" ".join(words[:2]) for words in TOPICS.values()]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Settings]:
    """The settings of an installation in some folder."""

    def settings(home: Path) -> Settings:
        monkeypatch.setenv("PODSEARCH_HOME", str(home))
        get_settings.cache_clear()
        return get_settings()

    return settings


def answers(settings: Settings) -> Answers:
    found = open_search(settings).search_many(QUERIES, 5)
    return [[(result.episode_id, round(result.score, 4)) for result in results] for results in found]


def test_a_copy_of_the_artifacts_is_all_that_search_needs(tmp_path: Path, at: Callable[[Path], Settings]) -> None:
    old, new = make_live(tmp_path / "old"), tmp_path / "new"
    before = answers(at(old))
    assert all(before)
    shutil.copytree(old / "artifacts", new / "artifacts")
    shutil.rmtree(old)
    assert answers(at(new)) == before


def test_an_index_that_was_not_kept_is_written_anew_without_a_model(
    tmp_path: Path, at: Callable[[Path], Settings]
) -> None:
    """Vectors are in the artifacts, too: the next run builds the index from them."""
    old, new = make_live(tmp_path / "old"), tmp_path / "new"
    shutil.copytree(old / "artifacts", new / "artifacts", ignore=lambda folder, names: {"index"} & set(names))
    settings = at(new)
    store, live = (
        ArtifactStore(settings.installation.artifacts_root),
        require_live(ArtifactStore(settings.installation.artifacts_root)),
    )
    forget_lost(store, live.namespace, open_index(settings))
    plan = plan_reindex(store, model_version=live.model_version, live=live)
    assert plan.action == "full"
    assert not any(texts_to_encode(store, plan, shard) for shard in plan.shards)
