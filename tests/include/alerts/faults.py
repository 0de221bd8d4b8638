"""Alerts to test with, and a channel that keeps what it is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from include.alerts.alert import Alert, FaultKind, Finding, Link, Severity
from include.alerts.channels import DeliveryError
from include.alerts.message import Message

START = datetime(2026, 3, 1, 2, tzinfo=UTC)


def alert(run: int = 1, *, days: float = 0, **values: Any) -> Alert:
    """The alert of one run; ``days`` after :data:`START`."""
    plain: dict[str, Any] = {
        "dag_id": "ingest_episodes",
        "task_id": "validate_raw_episodes",
        "kind": FaultKind.FAILURE,
        "severity": Severity.CRITICAL,
        "cause": "ids",
        "headline": "1 critical expectation was missed",
        "findings": [
            Finding(
                what="Ids are unique",
                expectation="expect_column_values_to_be_unique",
                observed="3 of 9 fail",
                expected="all values",
                samples=["e1", "e2", "e3", "e4"],
            )
        ],
        "unaffected": {"Live model": "base, on snapshot s1"},
        "links": [Link(label="Task", url="http://airflow/dags/ingest_episodes")],
        "next_step": "Mend the source.",
        "run_id": f"run {run}",
        "occurred_at": START + timedelta(days=days),
    }
    return Alert(**(plain | values))


class KeepingChannel:
    """Keeps messages; refuses them while ``down``."""

    def __init__(self, name: str = "mail") -> None:
        self.name = name
        self.down = False
        self.attempts = 0
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.attempts += 1
        if self.down:
            raise DeliveryError("it is down")
        self.messages.append(message)

    @property
    def events(self) -> list[str]:
        return [message.event.value for message in self.messages]
