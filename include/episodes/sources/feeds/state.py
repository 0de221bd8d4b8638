"""What is remembered of each feed between polls: how to ask for it again, how it fares, and all its episodes so far.

``feeds/<feed id>/state.json`` is small and names the file beside it that holds the show and its episodes. That file is
written first, under a name that follows from its content, and the state then replaced in one step: a poll that is
killed leaves the old pair or the new one, never an ETag without the episodes that belong to it.

What is known of a feed outlives its place on the list: ``feeds/unlisted.json`` says since when it is not listed, and
:mod:`include.housekeeping` removes it when that is long ago.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import BaseModel, TypeAdapter

from include.episodes.sources.feeds.addresses import Feed
from include.episodes.sources.feeds.client import Answer, Validators
from include.episodes.sources.feeds.failure import FeedError, Reason
from include.episodes.sources.feeds.parse import PARSER_VERSION, Parsed
from include.storage import ArtifactStore, digest

FOLDER = "feeds"
STATE = "state.json"
UNLISTED = "unlisted.json"


class Catalogue(BaseModel):
    """A show and its episodes so far, with those that its feed does not list any more; rows as in :class:`Parsed`."""

    show: dict[str, str] = {}
    episodes: dict[str, dict[str, str]] = {}

    def merged(self, parsed: Parsed) -> Catalogue:
        """With what a feed says now: new episodes come in, edited ones replace their old selves, older ones stay.

        A feed may give its episodes new guids, some do so every day. An episode with the enclosure of one that the feed
        does not list any more, or with its title and date, is that one and keeps its id.
        """
        unlisted = {key: episode for key, episode in self.episodes.items() if key not in parsed.episodes}
        by_audio = {audio: key for key, episode in unlisted.items() if (audio := episode.get("audio"))}
        by_title = {_title_and_date(episode): key for key, episode in unlisted.items() if all(_title_and_date(episode))}
        episodes = dict(self.episodes)
        for key, episode in parsed.episodes.items():
            known = by_audio.get(episode.get("audio", "")) or by_title.get(_title_and_date(episode))
            episodes[key if key in self.episodes else known or key] = episode
        return Catalogue(show=parsed.show, episodes=episodes)

    def with_older(self, page: Parsed) -> Catalogue:
        """With a page of older episodes; what is known already stays as it is."""
        return Catalogue(show=self.show, episodes=self.merged(page).episodes | self.episodes)


def _title_and_date(episode: dict[str, str]) -> tuple[str, str]:
    return episode.get("title", ""), episode.get("pub_date", "")


class FeedState(BaseModel):
    """What is remembered of one feed.

    :param asked: the address to ask; another than the list's after a permanent redirect.
    :param body_sha256: of the feed's bytes when they were last read.
    :param parser: :data:`include.episodes.sources.feeds.parse.PARSER_VERSION` at that time.
    :param catalogue: name of the file with the show and its episodes; empty before the feed was first read.
    :param older: the page of older episodes that is to be read next, or empty.
    :param older_read: how many of them were read.
    :param failures: polls that failed since ``failing_since``, without a good one between.
    :param not_before: the server asked not to be asked before.
    """

    feed_id: str
    address: str
    asked: str
    title: str = ""
    validators: Validators = Validators()
    body_sha256: str = ""
    parser: int = 0
    catalogue: str = ""
    episodes: int = 0
    older: str = ""
    older_read: int = 0
    failing_since: datetime | None = None
    failures: int = 0
    not_before: datetime | None = None
    gone_since: datetime | None = None

    @property
    def usable_validators(self) -> Validators:
        """Empty if the feed has to be read again, whether it changed or not."""
        return self.validators if self.is_read else Validators()

    @property
    def is_read(self) -> bool:
        """Whether the catalogue is what today's parser makes of the bytes last received."""
        return bool(self.catalogue) and self.parser == PARSER_VERSION

    def after(self, answer: Answer) -> FeedState:
        """The state once the feed has answered."""
        return self.model_copy(
            update={
                "asked": answer.address,
                "validators": answer.validators,
                "failing_since": None,
                "failures": 0,
                "not_before": None,
            }
        )

    def after_failure(self, error: FeedError, now: datetime) -> FeedState:
        """The state after a failure; a feed that had moved is next polled at the list's address again."""
        wait = timedelta(seconds=error.retry_after) if error.retry_after else None
        return self.model_copy(
            update={
                "asked": self.address,
                "failing_since": self.failing_since or now,
                "failures": self.failures + 1,
                "not_before": now + wait if wait else None,
                "gone_since": now if error.reason is Reason.GONE else None,
            }
        )


def load(store: ArtifactStore, feed: Feed) -> FeedState:
    """The state of a feed, under the address and title that the list has for it now."""
    fresh = FeedState(feed_id=feed.feed_id, address=feed.address, asked=feed.address, title=feed.title)
    found = store.read_json_if_there(FOLDER, feed.feed_id, STATE)
    if found is None:
        return fresh
    known = FeedState.model_validate(found)
    if known.address == feed.address:
        return known.model_copy(update={"title": feed.title or known.title})
    # The same feed, written otherwise (http or https): the list has the last word.
    return known.model_copy(update={"address": feed.address, "asked": feed.address, "title": feed.title or known.title})


def save(store: ArtifactStore, state: FeedState) -> None:
    store.write_json(state.model_dump(mode="json"), FOLDER, state.feed_id, STATE)


def note_unlisted(store: ArtifactStore, feeds: Iterable[Feed], now: datetime) -> None:
    """Keep since when known feeds are not on the list."""
    known = {name for name in store.names(FOLDER) if not name.endswith(".json")}
    before = read_unlisted(store)
    unlisted = {name: before.get(name, now) for name in sorted(known - {feed.feed_id for feed in feeds})}
    if unlisted != before:
        store.write_json({name: since.isoformat() for name, since in unlisted.items()}, FOLDER, UNLISTED)


def read_unlisted(store: ArtifactStore) -> dict[str, datetime]:
    """Since when the feeds are not on the list that are known and were not there at the last poll."""
    kept = store.read_if_there(FOLDER, UNLISTED)
    return TypeAdapter(dict[str, datetime]).validate_json(kept) if kept else {}


def read_catalogue(store: ArtifactStore, state: FeedState) -> Catalogue:
    """The show and its episodes; empty before the feed was first read."""
    if not state.catalogue:
        return Catalogue()
    return Catalogue.model_validate_json(gzip.decompress(store.read_bytes(FOLDER, state.feed_id, state.catalogue)))


def save_catalogue(store: ArtifactStore, state: FeedState, catalogue: Catalogue) -> FeedState:
    """Write a catalogue, then the state that names it, then remove the one it replaces."""
    data = json.dumps(catalogue.model_dump(), sort_keys=True, ensure_ascii=False)
    name = f"{digest(data, length=24)}.json.gz"
    new = state.model_copy(
        update={
            "catalogue": name,
            "episodes": len(catalogue.episodes),
            "title": catalogue.show.get("title") or state.title,
        }
    )
    if name != state.catalogue:
        store.write_bytes(gzip.compress(data.encode(), mtime=0), FOLDER, state.feed_id, name)
    save(store, new)
    if state.catalogue and name != state.catalogue:
        store.remove(FOLDER, state.feed_id, state.catalogue)
    return new
