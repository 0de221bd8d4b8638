"""Facts for alerts, from what the pipeline has stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from include.alerts.alert import MAX_FINDINGS, Finding, Link
from include.alerts.message import in_words, moment
from include.quality.result import DOCS, FOLDER, Outcome, QualityResult, Severity
from include.storage import ArtifactStore

if TYPE_CHECKING:
    from include.episodes.snapshot import Publication
    from include.feedback.figures import Fall
    from include.index.live import LivePointer
    from include.search.canaries import Checked

STOPPED = "Nothing was published. Look at the Data Docs; mend the source or the threshold, then clear the failed task."
GOES_ON = "The run goes on. Look at the Data Docs, and at the source if this is not as it should be."
NAMED = 3
"""Questions that a message quotes."""


def findings_of(outcomes: Sequence[Outcome]) -> list[Finding]:
    """What a message quotes of missed expectations: the first of them, with three samples each."""
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
        "headline": f"{number} of the suite {result.suite} missed on {result.rows:,} rows",
        "findings": findings_of(missed),
        "more_findings": max(0, len(missed) - MAX_FINDINGS),
        "links": [Link(label="Data Docs", url=docs_url(base_url, result.run_name))],
        "next_step": STOPPED if severity == "critical" else GOES_ON,
    }


def cause_of(outcomes: Sequence[Outcome]) -> str:
    """Names the missed expectations, whatever was observed: it stays the same while they are missed."""
    return ", ".join(sorted({":".join(filter(None, (item.expectation, item.column))) for item in outcomes}))


def still_live(store: ArtifactStore) -> dict[str, str]:
    """What search answers from and which snapshot is published, as name and value."""
    from include.episodes import snapshot  # loads Arrow, which only a message needs
    from include.index.live import read_live

    latest, live = snapshot.latest(store), read_live(store)
    return {
        "Published snapshot": f"{latest.snapshot_id}, {latest.episodes:,} episodes, made {latest.created_at:%Y-%m-%d}"
        if latest
        else "none yet",
        "Live model": f"{live.model_version}, on snapshot {live.snapshot_id}, since {live.activated_at:%Y-%m-%d}"
        if live
        else "none yet",
    }


def age_of_snapshot(store: ArtifactStore, now: datetime) -> timedelta | None:
    """How long ago the published snapshot was made; None before the first."""
    from include.episodes import snapshot

    latest = snapshot.latest(store)
    return now - latest.created_at if latest else None


@dataclass(frozen=True)
class Lag:
    """How far what search answers from is behind what was published.

    :param live: what search answers from, None if nothing is live.
    :param missed: the publications that it has not got, the oldest first.
    """

    live: LivePointer | None
    missed: list[Publication]

    @property
    def since(self) -> datetime:
        """When there was first something to bring into the index; what a person went back to counts from then on."""
        first = self.missed[0].published_at
        return max(first, self.live.activated_at) if self.live else first


def lag_of_index(store: ArtifactStore) -> Lag | None:
    """How far the live index is behind; None if it has the published snapshot, or nothing was published."""
    from include.episodes import snapshot
    from include.index.live import read_live

    past, live = snapshot.publications(store), read_live(store)
    mine = [place for place, item in enumerate(past) if live and item.snapshot_id == live.snapshot_id]
    missed = past[mine[-1] + 1 :] if mine else past
    return Lag(live, missed) if missed else None


def freshness_facts(age: timedelta, limit: timedelta) -> dict[str, Any]:
    """The fields of an alert about a published snapshot that is older than it may be."""
    return {
        "headline": f"The published snapshot is older than {in_words(limit)}",
        "detail": f"It was made {in_words(age)} ago.",
        "next_step": (
            "See whether ingest_episodes runs and is not paused, and whether its source still has new versions; if it "
            "seldom has, raise PODSEARCH_FRESHNESS_DAYS."
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
        "detail": f"{answers}; {published}. It is behind since {moment(lag.since)}.",
        "next_step": (
            "See whether reindex_episodes is paused, fails, or waits for approval; then trigger it. If it only takes "
            "longer than that, raise PODSEARCH_INDEX_LAG_HOURS."
        ),
    }


def search_facts(checked: Checked, live: LivePointer) -> dict[str, Any]:
    """The fields of an alert about canaries that were not answered; it quotes up to :data:`NAMED`."""
    from include.search.canaries import K

    lost = [f"“{item.query}”" + (f" (was no. {item.rank})" if item.rank else "") for item in checked.lost]
    more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    return {
        "cause": live.namespace,
        "headline": f"Search misses {len(lost)} of {checked.asked} episodes that it is known to find",
        "detail": f"Not among the first {K} results: {', '.join(lost[:NAMED])}{more}. Asked of {live.namespace}.",
        "next_step": (
            "Trigger reindex_episodes: it holds the index against the snapshot and says what is missing; the run after "
            "it then builds the index anew. Meanwhile rollback_index can go back to the model before."
        ),
    }


def listening_facts(falls: Sequence[Fall]) -> dict[str, Any]:
    """The fields of an alert about a day on which listeners found less than is usual."""
    lines = [
        f"The {fall.measure} was {fall.value:.3f} (of {fall.counted:,}). On the days before it was {fall.usual:.3f} on "
        f"average; {fall.limit:.3f} at least was to be expected."
        for fall in falls
    ]
    return {
        "cause": ", ".join(fall.measure for fall in falls),
        "headline": f"Listeners found less on {falls[0].day} than on the days before",
        "detail": "\n".join(lines),
        "next_step": (
            "Look at “Queries” in podsearch's pages, and at what went live before that day; rollback_index goes back "
            "to the model before. A page or a program that changed may tell less of what is played, too."
        ),
    }


def run_url(base_url: str, dag_id: str, run_id: str, task_id: str | None = None, map_index: int = -1) -> str:
    """The page of a run, or of one of its tasks, in Airflow's UI."""
    url = f"{base_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}"
    if task_id is not None:
        url += f"/tasks/{quote(task_id)}" + (f"/mapped/{map_index}" if map_index >= 0 else "")
    return url


def docs_url(base_url: str, run_name: str) -> str:
    """The Data Docs of a run, as podsearch's pages in Airflow's UI serve them."""
    return f"{base_url.rstrip('/')}/podsearch/{FOLDER}/{quote(run_name)}/{DOCS}/index.html"
