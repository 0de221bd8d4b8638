from __future__ import annotations

import asyncio
import gzip
import logging
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from include.episodes.sources.feeds.client import Answer, FeedClient, PollLimits, Validators
from include.episodes.sources.feeds.failure import FeedError, Reason
from tests.include.episodes.sources.feeds.conftest import PUBLIC, Names
from tests.standins.feeds import (
    FeedsStandIn,
    Item,
    Page,
    bomb,
    cut,
    drip,
    endless,
    feed,
    redirect,
    rss,
    slow,
    status,
)

BODY = rss([Item(guid="one")])
QUICK = PollLimits(connections=4, seconds=1.0, max_bytes=2**20)


def ask(
    address: str, validators: Validators | None = None, *, limits: PollLimits = QUICK, allow_private: bool = True
) -> Answer:
    async def run() -> Answer:
        async with FeedClient(limits, allow_private=allow_private, contact="ops@search.example") as client:
            return await client.fetch(address, validators)

    return asyncio.run(run())


def refused(address: str, *, allow_private: bool = True) -> FeedError:
    with pytest.raises(FeedError) as caught:
        ask(address, allow_private=allow_private)
    return caught.value


def test_a_feed_arrives_with_what_makes_the_next_request_conditional(server: FeedsStandIn) -> None:
    server.pages["/f"] = feed(BODY, etag='W/"1"', modified="Mon, 06 Nov 2023 10:00:00 GMT")
    url = server.url("/f")

    first = ask(url)
    second = ask(url, first.validators)

    assert first.body == BODY
    assert first.validators == Validators(url, 'W/"1"', "Mon, 06 Nov 2023 10:00:00 GMT")
    assert second == Answer(url, None, first.validators)


def test_a_feed_that_changed_arrives_although_it_is_known(server: FeedsStandIn) -> None:
    server.pages["/f"] = feed(BODY, etag='"2"')
    assert ask(server.url("/f"), Validators(server.url("/f"), '"1"')).body == BODY


def test_validators_are_not_sent_to_another_address(server: FeedsStandIn) -> None:
    server.pages["/f"] = feed(BODY, etag='"1"')
    assert ask(server.url("/f"), Validators(server.url("/other"), '"1"')).body == BODY


def test_the_request_says_who_asks(server: FeedsStandIn) -> None:
    server.pages["/f"] = feed(BODY)
    ask(server.url("/f"))
    headers = server.requests[0].headers
    assert headers["user-agent"] == "podsearch/0.1 (+ops@search.example)"
    assert headers["accept-encoding"] == "gzip"


def test_a_compressed_feed_is_unpacked(server: FeedsStandIn) -> None:
    server.pages["/f"] = feed(BODY, packed=True)
    assert ask(server.url("/f")).body == BODY


def test_a_permanent_redirect_is_the_address_to_ask_from_now_on(server: FeedsStandIn) -> None:
    server.pages |= {"/old": redirect("/new", 301), "/new": redirect("/newer", 308), "/newer": feed(BODY, etag='"1"')}
    answer = ask(server.url("/old"))
    assert answer.address == answer.validators.url == server.url("/newer")


def test_a_temporary_redirect_is_not_nor_a_permanent_one_behind_it(server: FeedsStandIn) -> None:
    server.pages |= {"/old": redirect("/today", 302), "/today": redirect("/far", 301), "/far": feed(BODY)}
    answer = ask(server.url("/old"))
    assert answer.address == server.url("/old")
    assert answer.validators.url == server.url("/far")


def test_redirects_in_a_circle_end(server: FeedsStandIn) -> None:
    server.pages["/f"] = redirect("/f")
    assert refused(server.url("/f")).reason is Reason.TOO_MANY_REDIRECTS
    assert len(server.requests) == 6


@pytest.mark.parametrize("target", ["ftp://files.example/f", "file:///etc/passwd", "mailto:x", "http://[::1"])
def test_a_redirect_to_no_address_is_refused(server: FeedsStandIn, target: str) -> None:
    server.pages["/f"] = redirect(target)
    assert refused(server.url("/f")).reason is Reason.BAD_ADDRESS


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (status(410), Reason.GONE),
        (status(404), Reason.NOT_FOUND),
        (status(403), Reason.NOT_FOUND),
        (status(500), Reason.SERVER_ERROR),
        (status(204, b""), Reason.SERVER_ERROR),
        (status(301), Reason.SERVER_ERROR),
        (cut(BODY, 100), Reason.CUT_SHORT),
        (cut(BODY, 0), Reason.CUT_SHORT),
        (drip(BODY, pause=0.05), Reason.TIMEOUT),
        (drip(BODY, pause=0.05, headers_too=True), Reason.TIMEOUT),
        (slow(feed(BODY), 1.5), Reason.TIMEOUT),
        (endless(), Reason.TOO_LARGE),
        (status(200, BODY, Content_Encoding="br"), Reason.BAD_COMPRESSION),
        (status(200, BODY, Content_Encoding="gzip"), Reason.BAD_COMPRESSION),
        (status(200, b"", X="y" * 200_000), Reason.CUT_SHORT),
    ],
)
def test_each_bad_answer_has_its_reason_and_takes_no_longer_than_allowed(
    server: FeedsStandIn, page: Page, reason: Reason
) -> None:
    server.pages["/f"] = page
    started = time.monotonic()
    assert refused(server.url("/f")).reason is reason
    assert time.monotonic() - started < 20


def test_a_bomb_is_refused_before_it_fills_the_memory(server: FeedsStandIn) -> None:
    server.pages["/f"] = bomb(200)
    tracemalloc.start()
    assert refused(server.url("/f")).reason is Reason.TOO_LARGE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * QUICK.max_bytes


def test_a_bomb_within_a_bomb_is_not_unpacked(server: FeedsStandIn) -> None:
    server.pages["/f"] = status(200, BODY, Content_Encoding="gzip, gzip")
    assert refused(server.url("/f")).reason is Reason.BAD_COMPRESSION


def test_a_compressed_feed_that_breaks_off_is_cut_short(server: FeedsStandIn) -> None:
    server.pages["/f"] = status(200, gzip.compress(BODY)[:-20], Content_Encoding="gzip")
    assert refused(server.url("/f")).reason is Reason.CUT_SHORT


def test_what_comes_behind_the_end_of_a_compressed_feed_is_not_read(server: FeedsStandIn) -> None:
    """A server may send without end; only the end of the time would stop it."""
    server.pages["/f"] = endless(gzip.compress(BODY), Content_Encoding="gzip")
    assert ask(server.url("/f")).body == BODY


def test_a_length_of_thousands_of_digits_is_a_bad_answer(server: FeedsStandIn) -> None:
    server.pages["/f"] = lambda handler: handler.start(200, {"Content-Length": "9" * 5_000})
    assert refused(server.url("/f")).reason is Reason.CUT_SHORT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("99999999", 24 * 3600),
        ("in an hour", 3600),
        ("Mon, 06 Nov 2023 10:00:00 GMT", 0),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
def test_a_server_is_waited_for_as_long_as_it_asks(server: FeedsStandIn, code: int, value: str, seconds: int) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    server.pages["/f"] = status(code, Retry_After=in_an_hour if value == "in an hour" else value)
    error = refused(server.url("/f"))
    assert error.reason is Reason.THROTTLED
    assert error.retry_after == pytest.approx(seconds, abs=5)


@pytest.mark.parametrize("page", [status(429), status(429, Retry_After="soon")])
def test_a_server_that_does_not_say_how_long_is_not_waited_for(server: FeedsStandIn, page: Page) -> None:
    server.pages["/f"] = page
    assert refused(server.url("/f")).retry_after is None


def test_nobody_there(server: FeedsStandIn, names: Names) -> None:
    assert refused("http://127.0.0.1:9/f").reason is Reason.UNREACHABLE
    assert refused("http://missing.example/f").reason is Reason.UNREACHABLE


def test_a_private_address_is_refused_unless_allowed(server: FeedsStandIn, names: Names) -> None:
    server.pages["/f"] = feed(BODY)
    for address in (server.url("/f"), server.url("/f", host="inside.example"), server.url("/f", host="localhost")):
        error = refused(address, allow_private=False)
        assert error.reason is Reason.REFUSED_ADDRESS
        assert "PODSEARCH_FEEDS_ALLOW_PRIVATE" in error.detail
    assert not server.requests
    assert ask(server.url("/f", host="inside.example")).body == BODY


def test_a_redirect_to_a_private_address_is_refused(server: FeedsStandIn, names: Names, connected: list[str]) -> None:
    names.answers["show.example"] = [[PUBLIC]]
    server.pages |= {"/f": redirect(server.url("/secret")), "/secret": feed(BODY), "/good": feed(BODY)}

    assert ask(server.url("/good", host="show.example"), allow_private=False).body == BODY
    error = refused(server.url("/f", host="show.example"), allow_private=False)

    assert error.reason is Reason.REFUSED_ADDRESS
    assert not server.asked("/secret")
    assert set(connected) == {PUBLIC}


def test_a_name_that_changes_its_address_after_the_check_gains_nothing(
    server: FeedsStandIn, names: Names, connected: list[str]
) -> None:
    names.answers["show.example"] = [[PUBLIC], ["127.0.0.1"]]
    server.pages["/f"] = feed(BODY)

    assert ask(server.url("/f", host="show.example"), allow_private=False).body == BODY

    assert connected == [PUBLIC]
    assert names.asked == ["show.example"]


def test_a_proxy_of_the_environment_is_not_used(server: FeedsStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    server.pages["/f"] = feed(BODY)
    assert ask(server.url("/f")).body == BODY


def test_cookies_are_not_kept(server: FeedsStandIn) -> None:
    server.pages["/f"] = feed(BODY, Set_Cookie="who=you")

    async def twice() -> None:
        async with FeedClient(QUICK, allow_private=True) as client:
            await client.fetch(server.url("/f"))
            await client.fetch(server.url("/f"))

    asyncio.run(twice())
    assert "cookie" not in server.requests[1].headers


def test_one_request_at_a_time_reaches_a_host(server: FeedsStandIn, names: Names) -> None:
    server.pages |= {"/f": slow(feed(BODY), 0.05), "/moved": redirect(server.url("/f", host="a.example"))}

    async def many() -> None:
        async with FeedClient(QUICK, allow_private=True) as client:
            hosts = ["a.example", "b.example", "a.example"]
            asks = [client.fetch(server.url("/f", host=host)) for host in hosts]
            await asyncio.gather(*asks, client.fetch(server.url("/moved", host="c.example")))

    asyncio.run(many())
    assert server.most_at_once["a.example"] == 1
    assert server.most_at_once["*"] > 1


def test_waiting_for_a_host_does_not_count_as_the_feeds_time(server: FeedsStandIn) -> None:
    server.pages["/f"] = slow(feed(BODY), 0.4)

    async def many() -> list[Answer]:
        async with FeedClient(QUICK, allow_private=True) as client:
            return await asyncio.gather(*(client.fetch(server.url("/f")) for _ in range(4)))

    assert len(asyncio.run(many())) == 4


def test_secrets_in_an_address_do_not_reach_the_log(server: FeedsStandIn, caplog: pytest.LogCaptureFixture) -> None:
    server.pages["/f?key=s3cret"] = feed(BODY)
    with caplog.at_level(logging.INFO):
        ask(server.url("/f?key=s3cret", host="user:s3cret@127.0.0.1"))
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    assert "s3cret" not in caplog.text
