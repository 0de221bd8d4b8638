"""Where the settings say that episodes come from."""

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
        return _SOURCES[self.settings.source](self.settings, self.store)


def _directory(settings: Settings, store: ArtifactStore) -> Source:
    from include.episodes.sources.directory import DirectorySource

    return DirectorySource(settings.required_dataset_dir)


def _kaggle(settings: Settings, store: ArtifactStore) -> Source:
    from include.episodes.sources.kaggle import KaggleSource

    return KaggleSource(
        settings.kaggle_dataset,
        pinned=settings.kaggle_version,
        connect=KaggleHook(settings.kaggle_connection).get_conn,
        store=store,
        work=settings.work_root,
        max_file_bytes=settings.max_file_bytes,
    )


def _feeds(settings: Settings, store: ArtifactStore) -> Source:
    from include.episodes.sources.feeds.client import Limits
    from include.episodes.sources.feeds.source import FeedsSource

    return FeedsSource(
        store,
        settings.required_feeds,
        limits=Limits(
            connections=settings.feeds_connections, seconds=settings.feeds_seconds, max_bytes=settings.feeds_max_bytes
        ),
        allow_private=settings.feeds_allow_private,
        contact=settings.feeds_contact,
    )


_SOURCES = {"directory": _directory, "kaggle": _kaggle, "feeds": _feeds}
