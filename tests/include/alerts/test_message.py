from __future__ import annotations

import re
from datetime import timedelta

import pytest
from selectolax.lexbor import LexborHTMLParser as HTMLParser

from include.alerts.alert import Finding, Link
from include.alerts.book import Fault
from include.alerts.message import BREAK, SUBJECT_CHARS, TEXT_CHARS, Event, Message, compose, in_words, inert
from include.text import clean
from tests.include.alerts.faults import START, alert

HOSTILE = (
    "</code><script>alert(1)</script> <!channel> <!here|x> @everyone <@U123> <@U123|Bob> <users/all> "
    "<http://evil.example|good> [good](http://evil.example) http://evil.example www.evil.example evil.example/x "
    "\u202egnp"
)
LINK = re.compile(r"<[^\s\u200b]|@[^\W\d_]|\w://|\]\(|[\w-]\.[a-z]{2,}")
"""What some chat or mail program takes for a mention or a link."""


def fault(**values: object) -> Fault:
    return Fault(alert=alert(**values), first_at=START)  # type: ignore[arg-type]


def hostile() -> Fault:
    finding = Finding(what=HOSTILE, expectation=HOSTILE, observed=HOSTILE, expected=HOSTILE, samples=[HOSTILE] * 3)
    return fault(headline=f"{HOSTILE}\r\nBcc: all@example.org", detail=f"{HOSTILE}\n{HOSTILE}", findings=[finding])


def visible(html: str) -> str:
    body = HTMLParser(html).body
    assert body is not None
    return " ".join(body.text(separator=" ").split())


def test_a_message_has_every_fact() -> None:
    message = compose(fault(), Event.ALERT)
    assert message.subject == ("[podsearch] ingest_episodes · validate_raw_episodes: 1 critical expectation was missed")
    for text in (message.text, visible(message.html)):
        for fact in (
            "Ids are unique",
            "3 of 9 fail",
            "all values",
            "e1",
            "e3",
            "Live model: base, on snapshot s1",
            "Mend the source.",
            "2026-03-01 02:00 UTC",
        ):
            assert fact in text
        assert "e4" not in text, "three samples are enough"
    assert "http://airflow/dags/ingest_episodes" in message.text
    assert 'href="http://airflow/dags/ingest_episodes"' in message.html


def test_a_reminder_and_a_recovery_say_how_long_and_how_often() -> None:
    lasting = Fault(alert=alert(3, days=2), first_at=START, runs=3, over_at=START + timedelta(days=2))
    reminder, recovery = compose(lasting, Event.REMINDER), compose(lasting, Event.RECOVERY)
    assert reminder.subject.startswith("[podsearch] still: ingest_episodes")
    assert "in 3 runs so far" in reminder.text
    assert recovery.subject.startswith("[podsearch] recovered: ingest_episodes")
    assert "Recovered after 3 runs, 2 days." in recovery.text
    assert "Recovered after 3 runs, 2 days." in visible(recovery.html)
    assert "Mend the source" not in recovery.text + recovery.html, "there is nothing to do any more"
    assert len({compose(lasting, event).fault_id for event in Event}) == 1


@pytest.mark.parametrize("event", list(Event))
def test_text_of_feeds_does_nothing_in_mail(event: Event) -> None:
    html = compose(hostile().model_copy(update={"over_at": START}), event).html
    page = HTMLParser(html)
    assert {node.tag for node in page.css("script, img, iframe, form, object")} == set()
    assert [link.attributes["href"] for link in page.css("a")] == ["http://airflow/dags/ingest_episodes"]
    assert "\u202e" not in html
    assert "evil" in visible(html)
    assert LINK.findall(visible(html)) == [], "mail programs make links of what looks like one"


@pytest.mark.parametrize("event", list(Event))
def test_text_of_feeds_calls_nobody_and_links_nowhere_in_a_chat(event: Event) -> None:
    message = compose(hostile().model_copy(update={"over_at": START}), event)
    lines = message.text.splitlines()
    assert lines.pop() == "Task: http://airflow/dags/ingest_episodes", "the one link that is meant"
    assert LINK.findall("\n".join([message.subject, *lines])) == []
    assert "evil" in message.text
    assert "\u202e" not in message.text


def test_no_part_of_an_alert_but_its_links_is_live() -> None:
    every = dict.fromkeys(("dag_id", "task_id", "headline", "detail", "next_step"), HOSTILE)
    message = compose(
        fault(**every, unaffected={"Live": HOSTILE}, links=[Link(label=HOSTILE, url="http://airflow/x")]), Event.ALERT
    )
    assert LINK.findall((message.subject + message.text).replace("http://airflow/x", "")) == []
    assert LINK.findall(visible(message.html)) == []


def test_a_subject_is_one_short_line() -> None:
    subject = compose(hostile(), Event.ALERT).subject
    assert "\n" not in subject
    assert "\r" not in subject
    assert len(compose(fault(headline="x" * 500), Event.ALERT).subject) <= SUBJECT_CHARS


def test_a_chat_message_is_bounded_and_keeps_what_to_do() -> None:
    finding = Finding(what="w" * 400, expectation="e", observed="o" * 400, expected="x" * 400, samples=["s" * 400] * 3)
    message: Message = compose(fault(findings=[finding] * 10, more_findings=7, detail="d" * 2_000), Event.ALERT)
    assert len(message.text) <= TEXT_CHARS
    assert "… and 12 more" in message.text
    assert "Next: Mend the source." in message.text
    assert message.text.endswith("Task: http://airflow/dags/ingest_episodes")
    assert "… and 7 more." in visible(message.html)


def test_a_link_that_is_no_page_is_escaped() -> None:
    html = compose(fault(links=[Link(label='"><b>', url='http://a/"onclick="x')]), Event.ALERT).html
    assert HTMLParser(html).css("b") == []
    assert HTMLParser(html).css("[onclick]") == []


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(seconds=0), "0 seconds"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(minutes=59), "59 minutes"),
        (timedelta(hours=23), "23 hours"),
        (timedelta(days=1, hours=2), "1 day"),
        (timedelta(days=2, hours=14), "3 days"),
    ],
)
def test_a_duration_is_said_in_one_unit(duration: timedelta, words: str) -> None:
    assert in_words(duration) == words


def test_clean_text_is_one_visible_line() -> None:
    assert clean("a\r\nb\tc\x00\x1b[31m d\u200b\u202e e\ud800") == "a b c [31m d e"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("me@example.org, see https://x", "me@|example.|org, see https:|//x"),
        ("<!here|x> <@U1|Bob> <http://a.eu|c>", "<|!here|x> <|@|U1|Bob> <|http:|//a.|eu|c>"),
        ("[good](http://evil.example)", "[good]|(http:|//evil.|example)"),
        (
            "www.evil.example evil.com/x EVIL.COM münchen.de evil。com",
            "www.|evil.|example evil.|com/x EVIL.|COM münchen.|de evil。|com",
        ),
        ("slack://open mailto:me@1and1.com @1st", "slack:|//open mailto:me@1and1.|com @|1st"),
        ("Recall@30 .551 → 0.676, 5.5.0, 1 < 2, e.g. this", None),
        ("/data/live.json is damaged: quality/r/episodes.json.", None),
        (
            "live.json.evil.com evil.com.json archive.zip run.py",
            "live.|json.|evil.|com evil.|com.json archive.|zip run.|py",
        ),
    ],
)
def test_what_is_live_is_broken_up_and_nothing_else(text: str, expected: str | None) -> None:
    """Names of files can still be copied: their endings are no domains."""
    assert inert(text).replace(BREAK, "|") == (expected or text)
