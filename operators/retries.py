"""Which errors are retried, and when."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Context, RetryDecision, RetryPolicy

from include.errors import PermanentError, RetryLaterError


class RetryByError(RetryPolicy):
    """Decides by what the error says about itself.

    Bad data, settings or hardware need a person: the task fails at once. A server that was busy and said for how long
    is left alone for that long. Everything else is retried as the task is configured.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        if isinstance(exception, PermanentError):
            return RetryDecision.fail("Only a person can fix this.")
        if isinstance(exception, RetryLaterError) and exception.seconds is not None:
            return RetryDecision.retry(timedelta(seconds=exception.seconds), "The server said when to come back.")
        return RetryDecision.default()
