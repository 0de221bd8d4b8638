from __future__ import annotations

import csv
from pathlib import Path

from include.episodes.columns import COLUMNS
from include.episodes.sources.feeds import state as states
from include.episodes.sources.feeds.addresses import Feed
from include.episodes.sources.feeds.dataset import dataset_folder, version_of, write_dataset
from include.episodes.sources.feeds.state import Catalogue, FeedState
from include.storage import ArtifactStore


def known(store: ArtifactStore, name: str, **episodes: str) -> FeedState:
    catalogue = Catalogue(
        show={"title": f"Show {name}", "of_old": "x"},
        episodes={key: {"title": title} for key, title in episodes.items()},
    )
    return states.save_catalogue(store, states.load(store, Feed(name, f"https://{name}.example/")), catalogue)


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_files_have_kaggles_columns_and_join(store: ArtifactStore) -> None:
    feeds = [
        known(store, "b", e2="Two"),
        known(store, "a", e1="One", e0='Quote " , \r\n'),
        FeedState(feed_id="c", address="", asked=""),
    ]
    folder = dataset_folder(store, write_dataset(store, feeds))
    assert isinstance(folder, Path)
    shows, episodes = rows(folder, "podcasts"), rows(folder, "episodes")
    assert [(show["uuid"], show["title"]) for show in shows] == [("a", "Show a"), ("b", "Show b")]
    assert [(row["uuid"], row["podcast_uuid"], row["title"]) for row in episodes] == [
        ("e0", "a", 'Quote " , \r\n'),
        ("e1", "a", "One"),
        ("e2", "b", "Two"),
    ]
    assert (tuple(shows[0]), tuple(episodes[0])) == (COLUMNS["podcasts"], COLUMNS["episodes"])


def test_the_version_follows_from_the_content_alone(store: ArtifactStore, tmp_path: Path) -> None:
    here = [known(store, "a", e="One"), known(store, "b", e="Two")]
    elsewhere = ArtifactStore(tmp_path / "elsewhere")
    there = [known(elsewhere, "b", e="Two"), known(elsewhere, "a", e="One")]
    failing = here[0].model_copy(update={"failures": 3, "asked": "https://moved.example/"})
    assert version_of(here) == version_of(there) == version_of([failing, here[1]])
    assert version_of(here) != version_of([known(store, "a", e="One!"), here[1]])


def test_what_is_there_is_not_written_again(store: ArtifactStore) -> None:
    feeds = [known(store, "a", e="One")]
    folder = dataset_folder(store, write_dataset(store, feeds))
    assert isinstance(folder, Path)
    before = (folder / "episodes.csv").stat()
    write_dataset(store, feeds)
    assert (folder / "episodes.csv").stat() == before


def test_a_version_that_comes_back_is_the_same_and_kept(store: ArtifactStore) -> None:
    versions = [write_dataset(store, [known(store, "a", e=title)]) for title in ("One", "Two", "One")]
    assert versions[0] == versions[2]
    assert store.names("downloads", "feeds") == sorted(versions[:2])


def test_an_unfinished_version_goes_first(store: ArtifactStore) -> None:
    store.write_bytes(b"half", "downloads", "feeds", "unfinished", "episodes.csv")
    kept = [write_dataset(store, [known(store, "a", e=title)]) for title in ("One", "Two")]
    assert store.names("downloads", "feeds") == sorted(kept)
