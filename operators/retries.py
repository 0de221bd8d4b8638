"""Which errors are tried again, and when."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Context, RetryDecision, RetryPolicy

from include.errors import PermanentError, RetryLaterError


class RetryByError(RetryPolicy):
    """Follows what an error says of itself.

    Bad data, settings or hardware stay as they are until a person acts: the task fails at once. A server that was busy
    and said for how long is left alone for so long. All else is tried again as the task has it.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        if isinstance(exception, PermanentError):
            return RetryDecision.fail("Only a person can mend this.")
        if isinstance(exception, RetryLaterError) and exception.seconds is not None:
            return RetryDecision.retry(timedelta(seconds=exception.seconds), "The server said when to come back.")
        return RetryDecision.default()
