"""Messages about a fault: a subject line, plain text for chats and pagers, HTML for mail.

Text from feeds and exceptions is treated as hostile: control and formatting characters are removed, it is escaped in
HTML, and whatever a chat or mail program would turn into a mention or a link is broken up. So is everything else in a
message except the alert's own links: every program has its own syntax, and some see links everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from include.alerts.alert import Severity
from include.alerts.book import Fault
from include.text import clean, shorten

SUBJECT_CHARS = 150
TEXT_CHARS = 1_800
"""What the narrowest chat takes in one message is 2,000 (Discord)."""
TEXT_FINDINGS = 5
TEXT_DETAIL_CHARS = 600
BREAK = "\u200b"
"""A space without width."""
FILES = "bin|cfg|csv|db|gz|html|ini|json|jsonl|lock|log|opml|parquet|safetensors|sqlite|toml|txt|xml|yaml|yml"
"""File name endings that are not top-level domains: such names are left unchanged, so that they can be copied."""
LIVE = re.compile(
    "|".join(
        [
            r"<(?=\S)",  # <!here|…>, <@U123>, <http://…|…>, <users/all>, <at>…
            r"(?<!\w)@|@(?!\d)",  # @everyone, @someone, someone@example.org; Recall@30 is none
            r":(?=//)",  # any scheme
            r"\](?=\()",  # [text](address)
            rf"(?<=[\w-])[.。．｡](?=[^\W\d_][\w-])(?!(?:{FILES})\b(?![.。．｡]\w))",  # www.example.org, example.org
        ]
    )
)
"""Characters after which a chat or mail program may see a name to mention, or an address to link to."""


class Event(StrEnum):
    """Why a message is sent."""

    ALERT = "alert"
    REMINDER = "reminder"
    RECOVERY = "recovery"


@dataclass(frozen=True)
class Message:
    """One message, in the forms that channels need.

    :param fault_id: the same for all messages about one fault, so that a pager can close the incident it opened.
    """

    fault_id: str
    event: Event
    severity: Severity
    subject: str
    text: str
    html: str


def compose(fault: Fault, event: Event) -> Message:
    """The message that announces a fault, reminds of it, or says that it is over."""
    return Message(
        fault_id=fault.fault_id,
        event=event,
        severity=fault.alert.severity,
        subject=_subject(fault, event),
        text=_text(fault, event),
        html=_template().render(fault=fault, alert=fault.alert, event=event, history=history(fault, event)),
    )


def history(fault: Fault, event: Event) -> str:
    """How long and how often, in a sentence."""
    runs = f"{fault.runs:,} run{'s' if fault.runs > 1 else ''}"
    if event is Event.RECOVERY:
        assert fault.over_at is not None  # what a recovery is told of
        return f"Recovered after {runs}, {in_words(fault.over_at - fault.first_at)}."
    if fault.runs == 1:
        return f"Since {moment(fault.first_at)}."
    return f"Since {moment(fault.first_at)}, in {runs} so far, last at {moment(fault.alert.occurred_at)}."


def in_words(duration: timedelta) -> str:
    """A duration in its largest unit that is not zero, rounded: ``2 days``, ``3 hours``."""
    seconds = duration.total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds >= length or unit == "second":
            number = round(seconds / length)
            return f"{number:,} {unit}{'' if number == 1 else 's'}"
    raise AssertionError("a second is the smallest unit")


def moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def inert(text: str) -> str:
    """Text on one line that mentions nobody and links nowhere, whichever program shows it. It looks unchanged."""
    return LIVE.sub(rf"\g<0>{BREAK}", clean(text))


def _subject(fault: Fault, event: Event) -> str:
    prefix = {Event.ALERT: "", Event.REMINDER: "still: ", Event.RECOVERY: "recovered: "}[event]
    return shorten(f"[podsearch] {prefix}{inert(fault.alert.place)}: {inert(fault.alert.headline)}", SUBJECT_CHARS)


def _text(fault: Fault, event: Event) -> str:
    """Plain text of at most :data:`TEXT_CHARS`; the middle is cut, not the links or what to do."""
    alert = fault.alert
    links = [f"{inert(link.label)}: {link.url}" for link in alert.links]
    if event is Event.RECOVERY:
        return shorten("\n".join([history(fault, event), f"It was: {inert(alert.headline)}", *links]), TEXT_CHARS)
    head = [f"{alert.severity.upper()}. {history(fault, event)}"]
    if alert.detail:
        head.append(shorten(inert(alert.detail), TEXT_DETAIL_CHARS))
    for finding in alert.findings[:TEXT_FINDINGS]:
        head.append(f"• {inert(finding.what)}: observed {inert(finding.observed)}; expected {inert(finding.expected)}")
        head += [f"    {shorten(inert(sample), 100)}" for sample in finding.samples]
    hidden = alert.more_findings + max(0, len(alert.findings) - TEXT_FINDINGS)
    foot = [f"… and {hidden} more"] if hidden else []
    foot += [f"{name}: {inert(value)}" for name, value in alert.unaffected.items()]
    foot += [f"Next: {inert(alert.next_step)}", *links]
    end = "\n".join(foot)
    return shorten("\n".join(head), max(0, TEXT_CHARS - len(end) - 1)) + "\n" + end


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(inert=inert)
    return environment.get_template("mail.html.j2")
