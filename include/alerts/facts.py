"""What an alert says about each kind of fault: the fields that follow from what was met."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from include.alerts.addresses import docs_url
from include.alerts.alert import MAX_FINDINGS, Finding, Link
from include.alerts.message import in_words, moment
from include.alerts.state import Lag
from include.quality.result import ExpectationResult, QualityResult, Severity

if TYPE_CHECKING:
    from include.evaluation.gate import Decision
    from include.feedback.figures import Fall
    from include.index.live import LivePointer
    from include.index.rollback import Rollback
    from include.index.watched import Change
    from include.search.canaries import Checked

MEND = "Fix the cause, then clear the failed task: finished work is kept."
STOPPED = "Nothing was published. Look at the Data Docs; fix the source or the threshold, then clear the failed task."
GOES_ON = "The run continues. Look at the Data Docs, and at the source if this is not as it should be."
NAMED = 3
"""How many questions a message quotes."""


def findings_of(outcomes: Sequence[ExpectationResult]) -> list[Finding]:
    """The missed expectations that a message quotes: the first of them, with three samples each."""
    return [
        Finding(
            what=outcome.what,
            expectation=outcome.expectation + (f" ({outcome.column})" if outcome.column else ""),
            observed=outcome.observed,
            expected=outcome.expected,
            samples=outcome.samples,
        )
        for outcome in outcomes[:MAX_FINDINGS]
    ]


def quality_facts(result: QualityResult, severity: Severity, base_url: str) -> dict[str, Any]:
    """The fields of an alert about the missed expectations of one severity.

    :param base_url: of Airflow's UI.
    """
    missed = result.critical if severity == "critical" else result.warnings
    number = f"{len(missed)} {severity} expectation{'s' if len(missed) > 1 else ''}"
    return {
        "cause": cause_of(missed),
        "headline": f"{number} of the suite {result.suite} failed on {result.rows:,} rows",
        "findings": findings_of(missed),
        "more_findings": max(0, len(missed) - MAX_FINDINGS),
        "links": [Link(label="Data Docs", url=docs_url(base_url, result.run_name))],
        "next_step": STOPPED if severity == "critical" else GOES_ON,
    }


def cause_of(outcomes: Sequence[ExpectationResult]) -> str:
    """Names the missed expectations but not what was observed, so that it stays the same while they are missed."""
    return ", ".join(sorted({":".join(filter(None, (item.expectation, item.column))) for item in outcomes}))


def freshness_facts(age: timedelta, limit: timedelta) -> dict[str, Any]:
    """The fields of an alert about a published snapshot that is too old."""
    return {
        "headline": f"The published snapshot is older than {in_words(limit)}",
        "detail": f"It was made {in_words(age)} ago.",
        "next_step": (
            "Check that ingest_episodes is running and not paused, and that its source still has new versions; if it "
            "seldom does, raise PODSEARCH_FRESHNESS_DAYS."
        ),
    }


def lag_facts(lag: Lag, now: datetime) -> dict[str, Any]:
    """The fields of an alert about an index that is behind what was published."""
    latest = lag.missed[-1]
    answers = f"Search answers from the snapshot {lag.live.snapshot_id}" if lag.live else "Nothing is live"
    more = f", the last of {len(lag.missed)} since then" if len(lag.missed) > 1 else ""
    published = f"{latest.snapshot_id} was published at {moment(latest.published_at)}{more}"
    return {
        "headline": f"Search has been behind what is published for {in_words(now - lag.since)}",
        "detail": f"{answers}; {published}. It has been behind since {moment(lag.since)}.",
        "next_step": (
            "Check whether reindex_episodes is paused, failing, or waiting for approval; then trigger it. If it simply "
            "takes that long, raise PODSEARCH_INDEX_LAG_HOURS."
        ),
    }


def search_facts(checked: Checked, live: LivePointer) -> dict[str, Any]:
    """The fields of an alert about canaries that search missed; it quotes up to :data:`NAMED`."""
    from include.search.canaries import K

    lost = [f"“{item.query}”" + (f" (was no. {item.rank})" if item.rank else "") for item in checked.lost]
    more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    return {
        "cause": live.namespace,
        "headline": f"Search misses {len(lost)} of {checked.asked} episodes that it is known to find",
        "detail": f"Not among the first {K} results: {', '.join(lost[:NAMED])}{more}. Asked of {live.namespace}.",
        "next_step": (
            "Trigger reindex_episodes: it checks the index against the snapshot and says what is missing; the next run "
            "rebuilds the index. Meanwhile, rollback_index can go back to the previous model."
        ),
    }


def change_facts(changes: Sequence[Change], live: LivePointer) -> dict[str, Any]:
    """The fields of an alert about live search that is smaller, scores lower or answers later than on recent days."""
    from include.index.watched import LATENCY, SIZE

    lines = []
    for change in changes:
        value, usual, limit = change.value, change.usual, change.limit
        if change.measure == SIZE:
            lines.append(f"The index has {value:,.0f} records; in the week before, {usual:,.0f} were usual.")
        elif change.measure == LATENCY:
            figures = [f"{1000 * figure:,.0f} ms" for figure in (value, usual, limit)]
            lines.append(
                f"On {change.day}, a question took {figures[0]}. On the days before it took {figures[1]}; up to "
                f"{figures[2]} was to be expected."
            )
        else:
            lines.append(
                f"On {change.day}, the cosine of questions and their known answers was {value:.3f}. On the days before "
                f"it was {usual:.3f}; at least {limit:.3f} was to be expected."
            )
    names = ", ".join(change.measure for change in changes)
    return {
        "cause": names,
        "headline": f"Live search has left the range of recent days: {names}",
        "detail": "\n".join([*lines, f"Observed in {live.namespace}."]),
        "next_step": (
            "Look at “Live” in podsearch's pages: at the trend, and at what went live. If records are missing, trigger "
            "reindex_episodes; if it is slow, look at the machine and the index. A change that lasts is no longer "
            "reported once it shows in most of the days compared with."
        ),
    }


def listening_facts(falls: Sequence[Fall]) -> dict[str, Any]:
    """The fields of an alert about a day on which listeners found less than usual."""
    lines = [
        f"The {fall.measure} was {fall.value:.3f} (of {fall.counted:,}). On the days before it was {fall.usual:.3f} on "
        f"average; at least {fall.limit:.3f} was to be expected."
        for fall in falls
    ]
    return {
        "cause": ", ".join(fall.measure for fall in falls),
        "headline": f"Listeners found less on {falls[0].day} than on the days before",
        "detail": "\n".join(lines),
        "next_step": (
            "Look at “Queries” in podsearch's pages, and at what went live before that day; rollback_index goes back "
            "to the previous model. A changed page or program may also be reporting fewer plays."
        ),
    }


def failure_facts(kind: str, message: str, *, tries: int | None) -> dict[str, Any]:
    """The fields of an alert about a task that failed.

    :param kind: the name of its error.
    :param message: the error's message, without secrets.
    :param tries: how often it was tried, if another try might have helped.
    """
    lines = message.strip().splitlines()
    return {
        "cause": kind,
        "headline": lines[0] if lines else kind,
        "detail": f"{kind}: {message}",
        "next_step": MEND if tries is None else f"It was tried {tries} times. {MEND}",
    }


def lost_facts() -> dict[str, Any]:
    """The fields of an alert about a task whose process ended without reporting why."""
    return {
        "cause": "lost",
        "headline": "The task was lost",
        "next_step": (
            "Its process ended without saying why: it was killed, or the machine ran out of memory. "
            "Look at the machine and the task's log, then clear the failed task."
        ),
    }


def run_facts(reason: str) -> dict[str, Any]:
    """The fields of an alert about a run that failed although none of its tasks did."""
    return {"cause": reason, "headline": f"Run: {reason}", "next_step": MEND}


def deadline_facts(state: str) -> dict[str, Any]:
    """The fields of an alert about a run that has not ended in time."""
    return {
        "headline": f"A run has not ended in time: it is {state}",
        "next_step": "See which of its tasks is running or waiting, and for what; the next run waits for this one.",
    }


def approval_facts(question: str) -> dict[str, Any]:
    """The fields of an alert about a question to a person."""
    return {
        "cause": question,
        "headline": f"Waiting for approval: {question}",
        "next_step": (
            "Approve or reject it in Airflow (Required Actions). Until then, and if it is rejected, search continues "
            "with what is live; later runs of the DAG wait."
        ),
    }


def gate_facts(candidate: str, decision: Decision) -> dict[str, Any]:
    """The fields of an alert about a model that was refused."""
    return {
        "cause": candidate,
        "headline": f"The new model {candidate} was refused",
        "detail": "\n".join(decision.reasons),
        "next_step": (
            "Search continues with the live model. Look at the comparison; train on better pairs, or trigger "
            "reindex_episodes with “Overrule the gate” if the loss is acceptable."
        ),
    }


def rollback_facts(rollback: Rollback, *, by: str) -> dict[str, Any]:
    """The fields of an alert about a rollback to an earlier model.

    :param by: who approved it.
    """
    left, live = rollback.left, rollback.target.model_version
    update = (
        f"Trigger reindex_episodes to bring {live} up to the latest snapshot, or rollback_index to return to {left}."
    )
    if rollback.stays_behind:
        update = (
            f"Search stays on the snapshot {rollback.target.snapshot_id}, because this release does not write to an "
            f"earlier format. Trigger rollback_index to return to {left}, or train another model."
        )
    return {
        "cause": f"{left} → {live}",
        "headline": f"Search was rolled back to {live}, as approved by {by}",
        "detail": f"{left} does not go live again by itself.",
        "next_step": update,
    }
