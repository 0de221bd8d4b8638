"""Which side brought a change in hybrid search: the vectors, or only their fusion with the words.

Words are searched once per evaluation and are the same for all of its models. So there is no third cause; but a change
of the vectors may vanish in the fusion, and one that vectors alone do not show may appear there.
"""

from __future__ import annotations

from typing import NamedTuple

from include.evaluation.formatting import signed
from include.evaluation.metrics import Interval

WORDS = "words are the same for both models"


class Change(NamedTuple):
    """How one metric of one query set changed, by vectors and words together and by vectors alone."""

    what: str
    """As the sentence names it: ``MRR@30 of test queries``."""
    together: Interval
    dense: Interval


def direction(change: Interval) -> int:
    """1 or -1 if the interval of a change excludes zero, otherwise 0."""
    if change.low is not None and change.low > 0:
        return 1
    return -1 if change.high is not None and change.high < 0 else 0


def brought(changes: list[Change]) -> str:
    """Which side brought the changes, in words; for each direction, the first change that is shown.

    :param changes: the most important first; if empty, because sides were not measured, so is the answer.
    """
    if not changes:
        return ""
    shown = [next((one for one in changes if direction(one.together) == way), None) for way in (1, -1)]
    told = [_cause(one) for one in shown if one]
    return " ".join(told) if told else _unseen(changes)


def _cause(change: Change) -> str:
    way = direction(change.together)
    said = f"{change.what} {figures(change.together)} together, {figures(change.dense)} by vectors alone"
    if direction(change.dense) == way:
        return f"Vectors brought {_it(way)}: {said}; {WORDS}."
    if direction(change.dense) == -way:
        return f"Fusion brought {_it(way)}, against the vectors: {said}; {WORDS}."
    return f"Fusion brought {_it(way)}; vectors alone show no change: {said}; {WORDS}."


def _unseen(changes: list[Change]) -> str:
    """Together nothing is shown."""
    moved = next((one for one in changes if direction(one.dense)), None)
    if moved is None:
        return f"Neither side is shown to have changed anything: vectors alone show no change either, and {WORDS}."
    better = "better" if direction(moved.dense) > 0 else "worse"
    return (
        f"Vectors alone are shown to be {better}, but not together with words: {moved.what} {figures(moved.dense)} by "
        f"vectors alone, {figures(moved.together)} together; {WORDS}."
    )


def _it(way: int) -> str:
    return "the gain" if way > 0 else "the loss"


def figures(change: Interval) -> str:
    """A difference with its interval, if it has one."""
    if change.low is None or change.high is None:
        return signed(change.mean)
    return f"{signed(change.mean)} ({signed(change.low)} to {signed(change.high)})"
