"""Canaries: what search is known to answer, and what becomes of it when something is wrong with the index."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from include.episodes import snapshot
from include.index.contract import Records
from include.index.lancedb import LanceIndex
from include.index.live import LivePointer, require_live
from include.search import canaries
from include.search.canaries import Checked, OneByOne, check
from include.search.service import SearchService
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.search.catalogue import MARKUP
from tests.models import TOPICS

GARDEN = "tomato. garden tomato soil seed compost spade. garden."
SPACE = "rocket. space rocket moon orbit planet star. space."
CURATED = {GARDEN: ["e0021", "e0020"], "gone": ["e9999"], SPACE: ["e0031", "e9999"]}


class Installation:
    """A copy of the live index that may be damaged."""

    def __init__(self, home: Path) -> None:
        self.store = ArtifactStore(home / "artifacts")
        self.index = LanceIndex(str(home / "artifacts" / "index"))
        self.service = SearchService(self.store, lambda live: self.index, weight=0.6)

    @property
    def live(self) -> LivePointer:
        return require_live(self.store)

    def check(self, curated: dict[str, list[str]] | None = None) -> Checked:
        return check(self.store, self.live, self.service.search_many, curated or {})

    def go_live(self, **changes: str) -> None:
        """As if another snapshot or model went live."""
        pointer = self.live.model_copy(update=changes)
        self.store.write_json(pointer.model_dump(mode="json"), "live.json")

    def chosen(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.store.read_json(*canaries.FILE)["canaries"]
        return found


@pytest.fixture
def installation(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Fifteen episodes: the first three of them are what the first ten are of many."""
    monkeypatch.setattr(canaries, "SURE", 3)
    monkeypatch.setattr(canaries, "K", 4)
    shutil.copytree(home, tmp_path / "home")
    return Installation(tmp_path / "home")


def test_titles_of_live_episodes_are_asked_where_nothing_was_curated(installation: Installation) -> None:
    asked, lost, scores = installation.check()
    assert 5 <= asked <= canaries.CANARIES
    assert lost == []
    words = {word for topic in TOPICS.values() for word in topic}
    assert {str(item["query"]) for item in installation.chosen()} <= words | {MARKUP}
    assert {item["rank"] for item in installation.chosen()} <= {1, 2, 3}
    assert installation.check() == (asked, [], scores), "quiet, hour after hour"


def test_curated_queries_go_before_titles(installation: Installation) -> None:
    installation.check(CURATED)
    first, second, *rest = installation.chosen()
    assert (first["query"], first["episode_ids"]) == (GARDEN, ["e0021", "e0020"])
    assert (second["query"], second["episode_ids"]) == (SPACE, ["e0031"]), "an answer that is not live is none"
    assert len(rest) == canaries.CANARIES - 2


def test_an_episode_that_is_not_found_any_more_is_lost_until_it_is_again(installation: Installation) -> None:
    installation.check(CURATED)
    stored = installation.index.fetch(installation.live.namespace, ["e0031"])
    installation.index.delete(installation.live.namespace, ["e0031"])
    asked, lost, _ = installation.check(CURATED)
    assert asked == canaries.CANARIES
    assert {item.episode_ids[0] for item in lost} == {"e0031"}
    assert (lost[0].query, lost[0].rank) == (SPACE, 1)
    assert installation.check(CURATED).lost == lost
    found = stored["e0031"]
    installation.index.upsert(installation.live.namespace, [Records(["e0031"], found.values[None], [found.metadata])])
    assert installation.check(CURATED).lost == []


def test_an_empty_index_is_lost_from_the_first_hour(installation: Installation) -> None:
    ids = list(installation.index.list_ids(installation.live.namespace))
    installation.index.delete(installation.live.namespace, ids)
    for _ in range(2):
        asked, lost, _ = installation.check(CURATED)
        assert asked == len(lost) > 10


def test_what_goes_live_may_cost_some_canaries_but_not_most(installation: Installation) -> None:
    installation.check(CURATED)
    before = installation.chosen()
    namespace = installation.live.namespace
    gone = [str(item["episode_ids"][0]) for item in before]  # type: ignore[index]

    rows = snapshot.read(installation.store, installation.live.snapshot_id).to_pylist()
    kept = [row for row in rows if row["episode_id"] not in gone[:2]]
    publish(installation.store, kept, source="v2")
    latest = snapshot.latest(installation.store)
    assert latest
    installation.index.delete(namespace, gone[:3])
    installation.go_live(snapshot_id=latest.snapshot_id)
    assert installation.check().lost == [], "two are withdrawn, one of eight was lost on the way"
    assert not {str(item["episode_ids"][0]) for item in installation.chosen()} & set(gone[:3])  # type: ignore[index]

    publish(installation.store, [*kept, episode(77)], source="v3")
    latest = snapshot.latest(installation.store)
    assert latest
    installation.index.delete(namespace, list(installation.index.list_ids(namespace))[2:])
    installation.go_live(snapshot_id=latest.snapshot_id)
    assert 2 * len(installation.check().lost) > canaries.CANARIES / 2
    assert installation.check().lost, "and they stay the measure"


def test_what_a_re_index_has_just_withdrawn_is_not_lost(installation: Installation) -> None:
    """It deletes first; its snapshot goes live once it is verified and measured."""
    asked = installation.check(CURATED).asked
    rows = snapshot.read(installation.store, installation.live.snapshot_id).to_pylist()
    publish(installation.store, [row for row in rows if row["episode_id"] != "e0031"], source="v2")
    installation.index.delete(installation.live.namespace, ["e0031"])
    found = installation.check(CURATED)
    assert found.lost == []
    assert 0 < found.asked < asked
    installation.index.delete(installation.live.namespace, ["e0021", "e0020"])
    assert GARDEN in {item.query for item in installation.check(CURATED).lost}


def test_a_damaged_file_is_begun_anew(installation: Installation) -> None:
    installation.store.write_bytes(b"{", *canaries.FILE)
    assert installation.check().lost == []
    assert installation.chosen()


def test_titles_are_unique_and_from_all_over_a_snapshot() -> None:
    import pyarrow as pa

    titles = ["Episode 1"] * 500 + [f"What owls do at night, part {n}" for n in range(500)] + ["Short"]
    table = pa.table({"episode_id": [f"e{n}" for n in range(len(titles))], "title": titles})
    chosen = canaries._titles(table)
    assert len(chosen) == canaries.TITLES
    assert len({item.query for item in chosen}) == canaries.TITLES
    places = [int(item.episode_ids[0][1:]) for item in chosen]
    assert min(places) < 520 < 970 < max(places)
    assert canaries._titles(table.slice(0, 0)) == []
    assert [item.query for item in canaries._titles(table.slice(1000))] == ["Short"]


def test_scores_are_the_cosines_of_the_right_episodes(installation: Installation) -> None:
    """Not those of what comes first: an index of other vectors has a first result, too."""
    installation.check(CURATED)
    (found,) = [item for item in installation.chosen() if item["query"] == GARDEN]
    hits = installation.service.search(GARDEN, 4, mode="dense")
    assert found["score"] == next(hit.score for hit in hits if hit.episode_id in {"e0020", "e0021"})
    checked = installation.check(CURATED)
    assert len(checked.scores) == checked.asked == len(installation.chosen())
    assert found["score"] in checked.scores


def test_asked_one_by_one_the_answers_are_the_same_and_each_has_its_time(installation: Installation) -> None:
    ask = OneByOne(installation.service.search)
    assert ask([GARDEN, SPACE], 4) == installation.service.search_many([GARDEN, SPACE], 4)
    assert len(ask.seconds) == 2
    assert all(0 < seconds < 60 for seconds in ask.seconds)
