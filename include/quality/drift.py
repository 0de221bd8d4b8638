"""Is a new snapshot still the catalogue it was? Its profile is compared with those of the last published snapshots.

The usual value is the median of a figure over the last snapshots, so that one odd snapshot does not move it. Two rules
keep small catalogues from crying wolf: a share has drifted only when at least :data:`MIN_EPISODES` episodes account for
the change, and lengths are compared only from that many episodes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from statistics import median

import pandas as pd
from great_expectations import ExpectationSuite
from great_expectations.expectations import ExpectColumnMaxToBeBetween
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from include.quality.profile import LANGUAGE, NEWEST, NULLABLE, REASON, Figures, Profile

COMPARED = "earlier snapshots"
WITHDRAWN = "withdrawn episodes"
WINDOW = 5
"""How many published snapshots the usual value is the median of."""
MAIN_LANGUAGE = 10.0
"""Percent of the episodes above which a language must not be lost."""
RARE_LANGUAGE = 1.0
"""Percent of the episodes; a language that is rarer, now and before, is not worth a line."""
MAX_LANGUAGE_LOSS = 0.5
"""Part of its usual share that a language may lose; more is a warning, and stops a run for a main language."""
MAX_REPEATED_GROWTH = 0.25
"""How much the share of episodes that repeat another's text may exceed what is usual before a run stops."""
SHARE_TOLERANCE = 0.07
"""How far a share (of a language, of repeated texts, ...) may be from what is usual before a warning."""
LENGTH_TOLERANCE = 0.3
"""How far the length of descriptions may be from what is usual, as a part of it, before a warning."""
MIN_EPISODES = 100
"""A change that concerns fewer episodes is not drift: this keeps small catalogues from crying wolf."""
CRITICAL, WARNING, INFO = FailureSeverity.CRITICAL, FailureSeverity.WARNING, FailureSeverity.INFO


def frame(profile: Profile, history: Sequence[Profile], *, withdrawn: float | None) -> pd.DataFrame:
    """One row: the figures of a profile, and with how many others it is compared.

    Values keep Python's own types, as Great Expectations cannot render numpy's.

    :param withdrawn: percent of the published snapshot's episodes that the new one does not have.
    """
    past, new = _aligned(history, profile)
    unknown = {name: float("nan") for figures in past for name in figures}
    return pd.DataFrame([{**unknown, **new, COMPARED: len(history), WITHDRAWN: withdrawn}], dtype=object)


def suite(profile: Profile, history: Sequence[Profile], *, max_shrink: float) -> ExpectationSuite:
    """What is expected of :func:`frame`.

    :param history: profiles of the last published snapshots, the oldest first. Without any there is nothing to compare
        with, and the suite's only expectation, of severity ``info``, says so.
    :param max_shrink: part of the episodes that the catalogue may lose before a run stops.
    """
    expectations: list[Expectation] = [
        ExpectColumnMaxToBeBetween(
            column=COMPARED, min_value=1, severity=INFO, description="There are earlier snapshots to compare with"
        )
    ]
    if history:
        drift = _Drift(profile, history, max_shrink)
        expectations += [drift.ids(), *drift.sizes(), *drift.languages(), *drift.texts(), *drift.gaps()]
    return ExpectationSuite(name="drift", expectations=expectations)


def _aligned(history: Sequence[Profile], profile: Profile) -> tuple[list[Figures], Figures]:
    """Figures of the past and the new ones; a language or a reason that only others have is 0 %."""
    every = [one.figures() for one in (*history, profile)]
    none: Figures = {name: 0.0 for figures in every for name in figures if name.startswith((LANGUAGE, REASON))}
    *past, new = (none | figures for figures in every)
    return past, new


def _median(past: Sequence[Figures], name: str) -> float:
    return median(value for figures in past if isinstance(value := figures.get(name), float))


class _Drift:
    """The expectations if there is a history."""

    def __init__(self, profile: Profile, history: Sequence[Profile], max_shrink: float) -> None:
        self.max_shrink = max_shrink
        self.large_enough = profile.episodes >= MIN_EPISODES
        past, self.new = _aligned(history, profile)
        self.usual = {name: _median(past, name) for name in past[-1] if name != NEWEST}
        self.newest = past[-1].get(NEWEST)
        self.least_change = 100 * MIN_EPISODES / max(profile.episodes, 1)
        """What :data:`MIN_EPISODES` are of the new catalogue, in percent."""
        self.margin = max(100 * SHARE_TOLERANCE, self.least_change)
        self.basis = f"from the last {len(history)} snapshots" if len(history) > 1 else "from the last snapshot"

    def ids(self) -> Expectation:
        """Most episodes are still there under their ids: a catalogue whose ids were all renamed is as large as ever."""
        most = max(100 * self.max_shrink, self.least_change)
        what = "Share of the last snapshot's episodes that are gone"
        return self._expect(WITHDRAWN, what, CRITICAL, most=most)

    def sizes(self) -> Iterator[Expectation]:
        """The catalogue does not shrink slowly over several snapshots, nor lose its newest episodes."""
        for name, severity in (("episodes", CRITICAL), ("shows", WARNING)):
            usual = self.usual[name]
            least = min(usual * (1 - self.max_shrink), usual - MIN_EPISODES)
            yield self._expect(name, f"Number of {name}", severity, least=max(round(least), 0), unit="")
        if self.newest is not None:
            yield self._expect(NEWEST, "Date of the newest episode", WARNING, least=self.newest, unit="")

    def languages(self) -> Iterator[Expectation]:
        """Each language is about as frequent as it was, and none collapses."""
        for name, usual in self._usual_of(LANGUAGE):
            if max(usual, self._share(name)) < RARE_LANGUAGE:
                continue
            what = f"Share of {name.removeprefix(LANGUAGE)} episodes"
            yield self._expect(name, what, WARNING, least=usual - self.margin, most=usual + self.margin)
            if usual >= RARE_LANGUAGE:
                least = min(usual * (1 - MAX_LANGUAGE_LOSS), usual - self.least_change)
                severity = CRITICAL if usual >= MAIN_LANGUAGE else WARNING
                yield self._expect(name, f"{what}, no collapse", severity, least=least)

    def texts(self) -> Iterator[Expectation]:
        """Descriptions are about as long, and as often HTML, as they were; texts are hardly more often repeated."""
        for kind in ("median", "mean"):
            name = f"description length, {kind}"
            if self.large_enough and name in self.usual:
                usual, margin = self.usual[name], self.usual[name] * LENGTH_TOLERANCE
                what = f"Length of descriptions, {kind}"
                yield self._expect(name, what, WARNING, least=usual - margin, most=usual + margin, unit="characters")
        for name, usual in self._usual_of("descriptions in HTML"):
            what = "Share of descriptions in HTML"
            yield self._expect(name, what, WARNING, least=usual - self.margin, most=usual + self.margin)
        for name, usual in self._usual_of("repeated texts"):
            what = "Share of episodes that repeat the text of another"
            most = usual + max(100 * MAX_REPEATED_GROWTH, self.least_change)
            yield self._expect(name, what, WARNING, most=usual + self.margin)
            yield self._expect(name, f"{what}, no explosion", CRITICAL, most=most)

    def gaps(self) -> Iterator[Expectation]:
        """Hardly more rows are in quarantine than before, for each reason, and hardly more values are missing."""
        for name, usual in self._usual_of("in quarantine"):
            reason = name.removeprefix(REASON) if name.startswith(REASON) else None
            what = f"Share of rows in quarantine as {reason}" if reason else "Share of rows in quarantine"
            yield self._expect(name, what, WARNING, most=usual + self.margin)
        for column in NULLABLE:
            for name, usual in self._usual_of(f"without {column}"):
                yield self._expect(name, f"Share of episodes without {column}", WARNING, most=usual + self.margin)

    def _usual_of(self, start: str) -> list[tuple[str, float]]:
        """The usual figures whose names start with this, largest first."""
        found = [(name, value) for name, value in self.usual.items() if name.startswith(start)]
        return sorted(found, key=lambda item: (-item[1], item[0]))

    def _share(self, name: str) -> float:
        value = self.new.get(name)
        return value if isinstance(value, float) else 0.0

    def _expect(
        self,
        column: str,
        what: str,
        severity: FailureSeverity,
        *,
        least: float | datetime | None = None,
        most: float | None = None,
        unit: str = "%",
    ) -> Expectation:
        """A bound on one figure; a share has none where it would be below 0 or above 100 %."""
        if unit == "%":
            least = max(least, 0.0) if isinstance(least, float) else None
            most = min(most, 100.0) if most is not None else None
        return ExpectColumnMaxToBeBetween(
            column=column,
            min_value=least,
            max_value=most,
            severity=severity,
            description=what,
            meta={"unit": unit, "basis": self.basis},
        )
