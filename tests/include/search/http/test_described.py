"""The service does what its OpenAPI document says, whatever is asked: schemathesis makes the questions."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

PATHS = [
    "/search",
    "/suggest",
    "/episodes/{episode_id}",
    "/episodes/{episode_id}/similar",
    "/healthz",
    "/readyz",
    "/metrics",
]
"""All that there are: test_programs.py holds it."""


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_as_described(address: str, path: str) -> None:
    """No failure of the server, no status and no content that is not documented, nothing wrong that is taken.

    What is right by its schema may be refused: none says that a query needs a word, or that a period needs an end after
    its beginning.
    """
    operation = schemathesis.openapi.from_url(f"{address}/openapi.json")[path]["GET"]

    @hypothesis.given(case=operation.as_strategy())
    @hypothesis.settings(max_examples=40, deadline=None, derandomize=True, database=None)
    def ask(case: Case[Any]) -> None:
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    ask()
