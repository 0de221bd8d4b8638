"""Podcast feeds as a source of episodes."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

from include.episodes.sources.contract import Folder
from include.episodes.sources.feeds.addresses import read_list
from include.episodes.sources.feeds.client import PollLimits
from include.episodes.sources.feeds.dataset import dataset_folder, write_dataset
from include.episodes.sources.feeds.poll import PolledFeed, PollStatus, poll
from include.episodes.sources.feeds.report import make_report, write_report
from include.episodes.sources.feeds.state import note_unlisted
from include.episodes.sources.files import DatasetError
from include.errors import RetryLaterError
from include.storage import ArtifactStore


class FeedsSource:
    """The shows whose feeds a list names, with every episode seen since each feed was first polled.

    :param store: keeps what is known of each feed (``feeds/``), the report of the last poll (``feeds/report.json``) and
        the last two datasets (``downloads/feeds/``).
    :param feeds: the list: OPML, or text with one address per line. Removing a feed from it removes its episodes;
        what is known of it is kept for a while, in case it comes back.
    :param limits: of a poll and of each feed.
    :param allow_private: also ask addresses that are not public.
    :param contact: address or mail that the User-Agent names.

    >>> FeedsSource(ArtifactStore("/data/artifacts"), Path("feeds.opml")).description
    'the feeds listed in feeds.opml'
    """

    def __init__(
        self,
        store: ArtifactStore,
        feeds: Path,
        *,
        limits: PollLimits | None = None,
        allow_private: bool = False,
        contact: str = "",
    ) -> None:
        self.store = store
        self.feeds = feeds
        self.limits = limits or PollLimits()
        self.allow_private = allow_private
        self.contact = contact

    @property
    def description(self) -> str:
        return f"the feeds listed in {self.feeds}"

    def latest_version(self) -> str:
        """Poll every feed and write the dataset of what is known then; the same content is the same version.

        :raises FeedListError: the list is missing, unreadable or empty.
        :raises RetryLaterError: no feed at all could be read, or none ever was.
        """
        feeds = read_list(self.feeds)
        polled_at, started = datetime.now(UTC), time.monotonic()
        note_unlisted(self.store, feeds.feeds, polled_at)
        outcomes = asyncio.run(
            poll(
                self.store,
                feeds.feeds,
                now=polled_at,
                limits=self.limits,
                allow_private=self.allow_private,
                contact=self.contact,
            )
        )
        report = make_report(feeds, outcomes, polled_at=polled_at, seconds=time.monotonic() - started)
        path = write_report(self.store, report)
        _check_reached(outcomes, path)
        return write_dataset(self.store, [outcome.state for outcome in outcomes])

    def fetch(self, version: str) -> Folder:
        """The dataset that :meth:`latest_version` wrote.

        :raises DatasetError: it is not there any more.
        """
        folder = dataset_folder(self.store, version)
        if folder is None:
            raise DatasetError(
                f"Version {version} of {self.description} is no longer kept: trigger ingest_episodes again to "
                "ingest the latest one."
            )
        return folder

    def published(self, version: str) -> None:
        """Nothing is left to do: :meth:`latest_version` keeps two versions, whatever becomes of them."""


def _check_reached(outcomes: list[PolledFeed], report: str) -> None:
    """One good feed is enough to go on; none of many is a fault on our side, usually: the network, a proxy, DNS."""
    failed = [outcome for outcome in outcomes if outcome.kind is PollStatus.FAILED]
    answered = [outcome for outcome in outcomes if outcome.kind in (PollStatus.UPDATED, PollStatus.UNCHANGED)]
    if failed and not answered:
        raise RetryLaterError(
            f"None of the {len(outcomes)} feeds could be read, the first for this reason: {failed[0].reason} "
            f"{failed[0].detail}. Is the network up? {report} lists them all."
        )
    if not any(outcome.state.catalogue for outcome in outcomes):
        raise RetryLaterError(f"None of the {len(outcomes)} feeds has been read so far: {report} says why.")
