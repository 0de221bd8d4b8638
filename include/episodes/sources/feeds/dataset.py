"""The catalogue of all feeds as a dataset: ``podcasts.csv`` and ``episodes.csv`` in the Kaggle files' columns."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from include.episodes.columns import COLUMNS
from include.episodes.sources.contract import Folder
from include.episodes.sources.feeds.state import FeedState, read_catalogue
from include.storage import MANIFEST, ArtifactStore, digest

PLACE = ("downloads", "feeds")
KEPT = 2
"""Versions that are kept."""


def version_of(states: Sequence[FeedState]) -> str:
    """Version of the catalogue: 16 hexadecimal digits that follow from its content alone."""
    return digest(*sorted(f"{state.feed_id} {state.catalogue}" for state in states if state.catalogue), length=16)


def write_dataset(store: ArtifactStore, states: Sequence[FeedState]) -> str:
    """Write the dataset of these feeds, unless it is there, and remove old versions.

    :returns: its version.
    """
    version = version_of(states)
    if not store.is_complete(*PLACE, version):
        with tempfile.TemporaryDirectory(prefix="podsearch-") as name:
            folder = Path(name)
            shows, episodes = _write_files(store, states, folder)
            manifest = {"version": version, "created_at": datetime.now(UTC), "shows": shows, "episodes": episodes}
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, default=str), encoding="utf-8")
            store.publish_directory(folder, *PLACE, version)
    _remove_old(store, version)
    return version


def dataset_folder(store: ArtifactStore, version: str) -> Folder | None:
    """Where a version is, or None when it is not there as a whole."""
    return store.path(*PLACE, version) if store.is_complete(*PLACE, version) else None


def _write_files(store: ArtifactStore, states: Sequence[FeedState], folder: Path) -> tuple[int, int]:
    shows = episodes = 0
    with (
        (folder / "podcasts.csv").open("w", encoding="utf-8", newline="") as shows_file,
        (folder / "episodes.csv").open("w", encoding="utf-8", newline="") as episodes_file,
    ):
        show_rows = csv.DictWriter(shows_file, COLUMNS["podcasts"], extrasaction="ignore")
        episode_rows = csv.DictWriter(episodes_file, COLUMNS["episodes"], extrasaction="ignore")
        show_rows.writeheader()
        episode_rows.writeheader()
        for state in sorted(states, key=lambda state: state.feed_id):
            if not state.catalogue:
                continue
            catalogue = read_catalogue(store, state)  # one feed at a time: memory does not grow with their number
            show_rows.writerow({"uuid": state.feed_id, **catalogue.show})
            for uuid, episode in sorted(catalogue.episodes.items()):
                episode_rows.writerow({"uuid": uuid, "podcast_uuid": state.feed_id, **episode})
            shows, episodes = shows + 1, episodes + len(catalogue.episodes)
    return shows, episodes


def _remove_old(store: ArtifactStore, version: str) -> None:
    """Keep this version and the newest of the others: a run that still reads the one before is not disturbed."""
    others = [name for name in store.names(*PLACE) if name != version]
    others.sort(key=lambda name: _created_at(store, name), reverse=True)
    for name in others[KEPT - 1 :]:
        store.remove(*PLACE, name)


def _created_at(store: ArtifactStore, version: str) -> str:
    """When a version was written; what was never finished is the oldest."""
    manifest = store.read_json_if_there(*PLACE, version, MANIFEST)
    return str(manifest["created_at"]) if manifest else ""
