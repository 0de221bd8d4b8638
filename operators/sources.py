"""The source of episodes that the settings name."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from operators.base import PodsearchOperator
from operators.kaggle import KaggleHook

if TYPE_CHECKING:
    from include.episodes.sources.contract import Source
    from include.settings import Settings
    from include.storage import ArtifactStore


class SourceOperator(PodsearchOperator):
    """An operator that knows the source of episodes."""

    @cached_property
    def source(self) -> Source:
        return _SOURCES[self.settings.episodes.source](self.settings, self.store)


def _directory(settings: Settings, store: ArtifactStore) -> Source:
    from include.episodes.sources.directory import DirectorySource

    return DirectorySource(settings.episodes.required_dataset_dir)


def _kaggle(settings: Settings, store: ArtifactStore) -> Source:
    from include.episodes.sources.kaggle import KaggleSource

    dataset, _, version = settings.episodes.kaggle_dataset.partition("/versions/")
    return KaggleSource(
        dataset,
        pinned=int(version) if version else None,
        connect=KaggleHook().get_conn,
        store=store,
        work=settings.installation.work_root,
        max_file_bytes=settings.episodes.max_file_bytes,
    )


def _feeds(settings: Settings, store: ArtifactStore) -> Source:
    from include.episodes.sources.feeds.source import FeedsSource

    return FeedsSource(
        store,
        settings.episodes.required_feeds,
        allow_private=settings.episodes.feeds_allow_private,
        contact=settings.episodes.feeds_contact,
    )


_SOURCES = {"directory": _directory, "kaggle": _kaggle, "feeds": _feeds}
