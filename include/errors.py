"""Failures that no retry will mend."""

from __future__ import annotations


class PermanentError(Exception):
    """Something that stays as it is until a person changes data, settings or hardware: a task fails at once on it.

    The message says what to do.
    """
