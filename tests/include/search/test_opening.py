"""Search that is opened by the settings is the search that they describe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from include.index.contract import EpisodeIndex
from include.index.live import LivePointer, NothingLiveError
from include.index.opening import open_index
from include.search.opening import open_search
from include.settings import PROJECT, Settings, get_settings


@pytest.fixture
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PODSEARCH_ARTIFACTS", str(home / "artifacts"))
    monkeypatch.setenv("PODSEARCH_HYBRID_WEIGHT", "1")
    monkeypatch.setenv("PODSEARCH_RESULTS_PER_SHOW", "1")
    get_settings.cache_clear()
    settings = get_settings()
    get_settings.cache_clear()
    return settings


def test_the_settings_say_how_much_meaning_weighs_and_how_many_a_show_has(settings: Settings) -> None:
    search = open_search(settings)
    found = search.search("rocket", k=15)
    assert len(found) == len({one.metadata.podcast_id for one in found}) < 15
    everything = open_search(settings, per_show=0)
    by_meaning = [one.episode_id for one in everything.search("rocket", k=15, mode="dense")]
    assert [one.episode_id for one in everything.search("rocket", k=15)] == by_meaning
    assert len(by_meaning) == 15


def test_somebody_with_credentials_opens_the_index(settings: Settings) -> None:
    opened = []

    def with_credentials(settings: Settings, *, live: LivePointer) -> EpisodeIndex:
        opened.append(live.namespace)
        return open_index(settings, live=live)

    search = open_search(settings, open_index=with_credentials)
    assert search.search("rocket")
    assert opened == [search.live().namespace]


ANSWERING = """
import sys
from include.search.opening import open_search
from include.settings import get_settings
found = open_search(get_settings()).search("rocket", k=3)
print(len(found), sorted({"torch", "transformers", "sentence_transformers"} & set(sys.modules)))
"""


def test_search_answers_without_pytorch(settings: Settings) -> None:
    """It would be most of what a search from the command line waits for, and of the service's memory."""
    done = subprocess.run([sys.executable, "-c", ANSWERING], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3 []"


def test_before_anything_is_live_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSEARCH_HOME", str(tmp_path / "podsearch"))
    get_settings.cache_clear()
    with pytest.raises(NothingLiveError):
        open_search(get_settings())
    get_settings.cache_clear()
