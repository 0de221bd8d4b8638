"""One poll of all feeds: in parallel, one request at a time per host, each feed's trouble kept to itself."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import httpx

from include.episodes.sources.feeds import state as states
from include.episodes.sources.feeds.addresses import Feed, check_address, shown
from include.episodes.sources.feeds.client import Answer, FeedClient, PollLimits
from include.episodes.sources.feeds.failure import HOST_TROUBLES, MAX_TROUBLES, PASSING, TRANSIENT, FeedError, Reason
from include.episodes.sources.feeds.parse import PARSER_VERSION, Parsed
from include.episodes.sources.feeds.parsers import FeedParsers
from include.episodes.sources.feeds.state import FeedState
from include.storage import ArtifactStore

LOG_SECONDS = 10.0
"""How often progress is logged."""
OLDER_PAGES = 50
"""Pages of older episodes that are read of a feed in one poll; the next poll goes on."""
ALL_OLDER_PAGES = 1_000
"""The same in all: a feed could lead from page to page for ever."""
RETRY_SECONDS = 2.0
"""Pause before the second try of feeds whose trouble may be gone by then."""

log = logging.getLogger(__name__)


class PollStatus(StrEnum):
    """How a feed fared in a poll."""

    UPDATED = "updated"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    WAITING = "waiting"
    """Not asked this time: its server asked to wait, or its host is in trouble."""
    GONE = "gone"


@dataclass(frozen=True)
class PolledFeed:
    """How one feed fared.

    :param state: what is remembered of it from now on.
    :param added: episodes that were not known before.
    :param edited: known episodes that read otherwise now.
    :param note: what was repaired in it, left out, or where it moved to; empty for a good feed.
    """

    kind: PollStatus
    state: FeedState
    reason: Reason | None = None
    detail: str = ""
    added: int = 0
    edited: int = 0
    note: str = ""


async def poll(
    store: ArtifactStore,
    feeds: Sequence[Feed],
    *,
    now: datetime,
    limits: PollLimits,
    allow_private: bool = False,
    contact: str = "",
) -> list[PolledFeed]:
    """Ask for every feed and keep what is new; one outcome a feed, in the order of the list.

    Every feed is saved by itself as soon as it is read, so that a poll may be killed and repeated at any moment.

    :param now: the poll's moment, in UTC, for waits and for how long feeds have been failing.
    """
    # Name look-ups and the store share these threads: a slow name server must not keep the store waiting.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * limits.connections))
    async with FeedClient(limits, allow_private=allow_private, contact=contact) as client, FeedParsers() as parsers:
        return await _Poll(store, client, parsers, now=now, total=len(feeds)).run(feeds)


class _Poll:
    def __init__(
        self, store: ArtifactStore, client: FeedClient, parsers: FeedParsers, *, now: datetime, total: int
    ) -> None:
        self.store = store
        self.client = client
        self.parsers = parsers
        self.total = total
        self.now = now
        self.outcomes: dict[str, PolledFeed] = {}
        self._logged = time.monotonic()

    async def run(self, feeds: Sequence[Feed]) -> list[PolledFeed]:
        await self._round(feeds, last=False)
        again = [feed for feed in feeds if self.outcomes[feed.feed_id].reason in TRANSIENT]
        if again:
            log.info("%d feeds are polled once more.", len(again))
            await asyncio.sleep(RETRY_SECONDS)
            self.client.forget_troubles()
            await self._round(again, last=True)
        return [self.outcomes[feed.feed_id] for feed in feeds]

    async def _round(self, feeds: Sequence[Feed], *, last: bool) -> None:
        hosts: defaultdict[str, list[Feed]] = defaultdict(list)
        for feed in feeds:
            hosts[httpx.URL(feed.address).host].append(feed)
        try:
            async with asyncio.TaskGroup() as group:
                for same_host in hosts.values():
                    group.create_task(self._host(same_host, last=last))
        except ExceptionGroup as errors:
            # Feeds' own troubles do not get here: the store is in trouble, and the first error says how.
            raise errors.exceptions[0] from None

    async def _host(self, feeds: list[Feed], *, last: bool) -> None:
        """The feeds of a host, one after the other; those that have failed before come last.

        :param last: failures count now. There are few of them, none that took long, so that none is left out.
        """
        known = [await asyncio.to_thread(states.load, self.store, feed) for feed in feeds]
        troubles = 0
        for state in sorted(known, key=lambda state: state.failures):
            if last or troubles < MAX_TROUBLES:
                async with self.client.slots:
                    outcome = await self._feed(state, last=last)
            else:
                detail = f"not polled: {MAX_TROUBLES} feeds on its host failed in a row"
                outcome = PolledFeed(PollStatus.WAITING, state, Reason.HOST_PAUSED, detail)
            if outcome.kind is not PollStatus.WAITING:
                troubles = troubles + 1 if outcome.reason in HOST_TROUBLES else 0
            self.outcomes[state.feed_id] = outcome
            self._log_progress()

    async def _feed(self, state: FeedState, *, last: bool) -> PolledFeed:
        if state.gone_since:
            return PolledFeed(PollStatus.GONE, state, Reason.GONE, "no longer polled; its episodes stay")
        if state.not_before and state.not_before > self.now:
            return PolledFeed(
                PollStatus.WAITING, state, Reason.THROTTLED, f"its server asked to wait until {state.not_before}"
            )
        try:
            outcome = await self._ask(state)
        except FeedError as error:
            if error.reason is Reason.HOST_PAUSED:
                return PolledFeed(PollStatus.WAITING, state, error.reason, error.detail)
            failure = error
        except Exception as error:  # one feed must not end the poll, whatever is wrong with it or with us
            failure = _unexpected(error, state.address)
        else:
            return await self._with_older(outcome)
        after = state.after_failure(failure, self.now)
        if last or failure.reason not in TRANSIENT:
            await asyncio.to_thread(states.save, self.store, after)
        kind = PollStatus.GONE if failure.reason is Reason.GONE else PollStatus.FAILED
        return PolledFeed(kind, after, failure.reason, failure.detail)

    async def _ask(self, state: FeedState) -> PolledFeed:
        answer = await self.client.fetch(state.asked, state.usable_validators)
        after, moved = state.after(answer), ""
        if after.asked != state.asked:
            moved = f"moved permanently to {shown(after.asked)}"
        sha = hashlib.sha256(answer.body).hexdigest() if answer.body is not None else state.body_sha256
        if state.is_read and sha == state.body_sha256:
            if after != state:
                await asyncio.to_thread(states.save, self.store, after)
            return PolledFeed(PollStatus.UNCHANGED, after, note=moved)
        after = after.model_copy(update={"body_sha256": sha, "parser": PARSER_VERSION})
        return await self._read(state, after, answer, moved)

    async def _read(self, state: FeedState, after: FeedState, answer: Answer, moved: str) -> PolledFeed:
        parsed = await self._parsed(state.feed_id, answer)
        if parsed.moved_to and parsed.moved_to != after.asked and _is_address(parsed.moved_to):
            after = after.model_copy(update={"asked": parsed.moved_to})
            moved = f"says that it moved permanently to {shown(after.asked)}"
        if not state.is_read:
            after = after.model_copy(update={"older": parsed.older, "older_read": 0})
        old = await asyncio.to_thread(states.read_catalogue, self.store, state)
        new = old.merged(parsed)
        after = await asyncio.to_thread(states.save_catalogue, self.store, after, new)
        fresh = new.episodes.keys() - old.episodes.keys()
        left_out = [
            f"{parsed.repeated} items repeat another one" if parsed.repeated else "",
            f"{parsed.no_audio} items without an enclosure are posts (no_audio)" if parsed.no_audio else "",
            f"{parsed.torn} items are incomplete and stay as they were" if parsed.torn else "",
        ]
        return PolledFeed(
            PollStatus.UNCHANGED if new == old else PollStatus.UPDATED,
            after,
            added=len(fresh),
            edited=sum(new.episodes[key] != episode for key, episode in old.episodes.items()),
            note="; ".join(part for part in (moved, parsed.flaw, *left_out) if part),
        )

    async def _with_older(self, outcome: PolledFeed) -> PolledFeed:
        """The outcome with older episodes that a feed keeps on pages of their own; each page is saved as it is read.

        Only the first reading of a feed looks for them: after that, an older page has nothing new.
        """
        state, trouble, pages = outcome.state, "", 0
        while state.older and not trouble and pages < OLDER_PAGES:
            try:
                page = await self._page(state)
            except FeedError as error:
                trouble = f"{shown(state.older)}: {error}"
                if error.reason not in PASSING:
                    state = state.model_copy(update={"older": ""})
                    await asyncio.to_thread(states.save, self.store, state)
                continue
            is_last = page.older == state.older or state.older_read + 1 >= ALL_OLDER_PAGES
            read = {"older": "" if is_last else page.older, "older_read": state.older_read + 1}
            known = await asyncio.to_thread(states.read_catalogue, self.store, state)
            state = await asyncio.to_thread(
                states.save_catalogue, self.store, state.model_copy(update=read), known.with_older(page)
            )
            pages += 1
        added = state.episodes - outcome.state.episodes
        notes = [outcome.note, f"{pages} pages of older episodes were read" if pages else ""]
        notes.append(f"a page of older episodes could not be read ({trouble})" if trouble else "")
        notes.append("the next poll goes on with older ones" if state.older else "")
        return replace(
            outcome,
            kind=PollStatus.UPDATED if added else outcome.kind,
            state=state,
            added=outcome.added + added,
            note="; ".join(note for note in notes if note),
        )

    async def _page(self, state: FeedState) -> Parsed:
        try:
            return await self._parsed(state.feed_id, await self.client.fetch(state.older))
        except FeedError:
            raise
        except Exception as error:
            raise _unexpected(error, state.older) from error

    async def _parsed(self, feed_id: str, answer: Answer) -> Parsed:
        if answer.body is None:
            raise FeedError(Reason.SERVER_ERROR, "says that nothing changed since a moment it was not told of")
        return await self.parsers.parse(
            answer.body, feed_id=feed_id, address=answer.validators.url, charset=answer.charset
        )

    def _log_progress(self) -> None:
        done = len(self.outcomes)
        if time.monotonic() - self._logged >= LOG_SECONDS and done < self.total:
            self._logged = time.monotonic()
            failed = sum(outcome.kind is PollStatus.FAILED for outcome in self.outcomes.values())
            log.info("Polled %d of %d feeds; %d failed so far.", done, self.total, failed)


def _unexpected(error: Exception, address: str) -> FeedError:
    log.error("The feed %s could not be read.", shown(address), exc_info=error)
    return FeedError(Reason.UNEXPECTED, f"{type(error).__name__}: {error}"[:200])


def _is_address(address: str) -> bool:
    try:
        check_address(address)
    except FeedError:
        return False
    return True
