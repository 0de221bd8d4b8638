from __future__ import annotations

from pathlib import Path

import pytest

from include.episodes.sources.directory import DirectorySource
from include.episodes.sources.feeds.source import FeedsSource
from include.episodes.sources.kaggle import KaggleSource
from include.settings import get_settings
from operators.sources import SourceOperator
from tests.operators.conftest import FakeContext, Installation, ingest
from tests.standins.feeds import FeedsStandIn, Item, feed, rss


def source_of(monkeypatch: pytest.MonkeyPatch, **settings: str) -> object:
    for name, value in settings.items():
        monkeypatch.setenv(f"PODSEARCH_{name.upper()}", value)
    get_settings.cache_clear()
    return SourceOperator(task_id="task").source


def test_a_directory_is_read_where_it_is(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(monkeypatch, source="directory")
    assert isinstance(source, DirectorySource)
    assert source.folder == installation.dataset


def test_kaggle_is_asked_for_the_dataset_and_version_of_the_settings(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection is needed before something is to be asked."""
    source = source_of(monkeypatch, source="kaggle", kaggle_dataset="some/shows/versions/3")
    assert isinstance(source, KaggleSource)
    assert source.latest_version() == "some.shows.v3"


def test_feeds_are_polled_as_the_settings_say(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    feeds = tmp_path / "feeds.txt"
    source = source_of(
        monkeypatch,
        **{"source": "feeds", "feeds": str(feeds), "feeds_contact": "me@example.org", "feeds_allow_private": "1"},
    )
    assert isinstance(source, FeedsSource)
    assert (source.feeds, source.contact, source.allow_private) == (feeds, "me@example.org", True)


def test_an_episode_of_a_feed_flows_in_at_the_next_run(
    installation: Installation, context: FakeContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def episodes(count: int) -> list[Item]:
        return [Item(title=f"Episode {n}", guid=f"g{n}", description=f"<p>About {n}</p>") for n in range(count)]

    with FeedsStandIn({"/show": feed(rss(episodes(3)))}).serve() as standin:
        feeds = tmp_path / "feeds.txt"
        feeds.write_text(standin.url("/show"))
        source_of(monkeypatch, source="feeds", feeds=str(feeds), feeds_allow_private="1")
        assert ingest(context)["added"] == 3
        standin.pages["/show"] = feed(rss(episodes(4)))
        summary = ingest(context)
    assert (summary["episodes"], summary["added"], summary["removed"]) == (4, 1, 0)
