"""Failures, by what resolves them: a person, or time."""

from __future__ import annotations


class PermanentError(Exception):
    """Something that only a person can fix, by changing data, settings or hardware: a task fails at once on it.

    The message says what to do.
    """


class RetryLaterError(Exception):
    """Something that is temporarily unavailable or busy: a task is retried.

    :param seconds: how long to wait first, if the other side has said so.
    """

    def __init__(self, message: str, *, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class OvertakenError(Exception):
    """What a run started from has been replaced, by a newer run or by a person: the run must not change anything.

    Nothing is wrong, and nothing needs to be done; the message says what has happened meanwhile.
    """
