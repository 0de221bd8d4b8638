"""An alert: the facts about a fault that every message is made from."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from include.storage import digest
from include.text import shorten

MAX_CHARS = 500
MAX_DETAIL_CHARS = 2_000
MAX_FINDINGS = 10
MAX_SAMPLES = 3


class Severity(StrEnum):
    """Decides who gets an alert."""

    CRITICAL = "critical"
    """The pipeline has stopped, or search is broken, and stays so until a person acts."""
    WARNING = "warning"
    """The pipeline goes on; a person should look soon."""


class FaultKind(StrEnum):
    """The kind of a fault; faults of different kinds in one place are separate faults."""

    FAILURE = "failure"
    """A task failed for good, or its worker was lost."""
    QUALITY = "quality"
    """The data missed expectations that do not stop a run."""
    GATE = "gate"
    """A new model was measured and refused."""
    DEADLINE = "deadline"
    """A run did not end in time."""
    FRESHNESS = "freshness"
    """No new snapshot was published for too long."""
    LAG = "lag"
    """Search has been behind the published snapshot for too long."""
    SEARCH = "search"
    """Search does not find what it should."""
    CHANGE = "change"
    """Live search is smaller, scores lower or answers later than on recent days."""
    LISTENING = "listening"
    """Listeners found less than on the days before."""
    APPROVAL = "approval"
    """A run waits for a person's approval."""
    ROLLBACK = "rollback"
    """A person rolled back from the live model."""

    @property
    def stops(self) -> bool:
        """Whether the pipeline, or search, has come to a stop."""
        return self in (FaultKind.FAILURE, FaultKind.DEADLINE, FaultKind.SEARCH)


def _kept(limit: int) -> AfterValidator:
    """A text as a file in UTF-8 can hold it, cut; bytes of a file name may be none."""
    return AfterValidator(lambda text: shorten(text.encode("utf-8", "replace").decode(), limit))


Short = Annotated[str, _kept(MAX_CHARS)]


class Finding(BaseModel):
    """An expectation that was missed. The observed value and the samples contain text from feeds: escape them."""

    what: Short
    expectation: Short
    observed: Short
    expected: Short
    samples: Annotated[list[Short], AfterValidator(lambda samples: samples[:MAX_SAMPLES])] = []


class Link(BaseModel):
    """A page to open."""

    label: str
    url: str


class Alert(BaseModel):
    """A fault as met in one run. Texts are cut to a maximum length.

    :param place: where: a DAG, or one of its tasks (``dag_id``, ``task_id``).
    :param cause: says briefly what is wrong, in words that stay the same from run to run: another cause is another
        fault.
    :param headline: one line that says what happened.
    :param detail: more of it, such as the text of an exception.
    :param unaffected: what still works, as name and value.
    :param next_step: one line that says what to do.
    """

    dag_id: str
    task_id: str | None = None
    kind: FaultKind
    severity: Severity
    cause: Short = ""
    headline: Short
    detail: Annotated[str, _kept(MAX_DETAIL_CHARS)] = ""
    findings: list[Finding] = []
    unaffected: dict[str, str] = {}
    links: list[Link] = []
    next_step: str
    run_id: str
    run_after: datetime | None = None
    """Airflow's time of the run, which orders the runs of a DAG, whenever their tasks are run again."""
    occurred_at: datetime
    more_findings: int = Field(default=0, ge=0)
    """How many findings were left out."""

    @property
    def place(self) -> str:
        return f"{self.dag_id} · {self.task_id}" if self.task_id else self.dag_id

    @property
    def fault_id(self) -> str:
        """Identifies the fault, whatever its cause and whichever run meets it."""
        return fault_id(self.dag_id, self.task_id, self.kind)


def fault_id(dag_id: str, task_id: str | None, kind: FaultKind) -> str:
    """The name of the fault of one kind in one place: 16 hexadecimal digits."""
    return digest(dag_id, task_id or "", kind, length=16)
