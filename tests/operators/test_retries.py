from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import RetryAction

from include.errors import PermanentError, RetryLaterError
from operators.retries import RetryByError


@pytest.mark.parametrize(
    ("error", "action", "delay"),
    [
        (PermanentError("no use"), RetryAction.FAIL, None),
        (RetryLaterError("busy", seconds=90), RetryAction.RETRY, timedelta(seconds=90)),
        (RetryLaterError("broken"), RetryAction.DEFAULT, None),
        (ConnectionError("broken"), RetryAction.DEFAULT, None),
    ],
    ids=["permanent", "told to wait", "later", "unknown"],
)
def test_an_error_says_itself_whether_and_when_a_task_is_tried_again(
    error: Exception, action: RetryAction, delay: timedelta | None
) -> None:
    decision = RetryByError().evaluate(error, try_number=1, max_tries=2)
    assert (decision.action, decision.retry_delay) == (action, delay)
