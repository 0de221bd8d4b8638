"""Failures by what mends them: a person, or time."""

from __future__ import annotations


class PermanentError(Exception):
    """Something that stays as it is until a person changes data, settings or hardware: a task fails at once on it.

    The message says what to do.
    """


class RetryLaterError(Exception):
    """Something that is away or busy for the moment: a task is tried again.

    :param seconds: how long to wait before, if the other side has said so.
    """

    def __init__(self, message: str, *, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class OvertakenError(Exception):
    """What a run began with has been replaced since, by a newer run or by a person: it must change nothing any more.

    Nothing is wrong, and nothing needs to be done; the message says what has come meanwhile.
    """
