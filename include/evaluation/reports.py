"""All reports: one line each, and the trend of the figures. Light enough for the web server."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from include.quality.lines import line
from include.quality.templating import render_template
from include.storage import ArtifactStore

FOLDER = "reports"
DATA = "report.json"
TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 40
"""Reports, the newest."""
SETS = ("test", "known", "played", "curated")
METRICS = {"recall@30": "Recall@30", "mrr@30": "MRR@30"}
log = logging.getLogger(__name__)


class Mean(BaseModel):
    """A metric, without its interval."""

    mean: float


class Evaluation(BaseModel):
    """How a model did on one query set."""

    query_set: str
    metrics: dict[str, Mean]


class Plan(BaseModel):
    """What was done to the index."""

    kind: str
    added: int
    changed: int
    removed: int


class Decision(BaseModel):
    """What the gate said."""

    passed: bool
    overruled: object = None


class Corpus(BaseModel):
    """How much is searched."""

    episodes: int


class Versions(BaseModel):
    """What was measured."""

    model: str | None = None
    snapshot: str | None = None


class Told(BaseModel):
    """As much of :class:`include.evaluation.report.ReportData` as the list shows."""

    run_id: str
    created_at: datetime
    evaluations: dict[str, list[Evaluation]] = {}
    decision: Decision | None = None
    plan: Plan | None = None
    corpus: Corpus | None = None
    versions: Versions = Versions()

    def measured(self, query_set: str, metric: str) -> float | None:
        """Of the model that the report is about: the candidate, else the one in use."""
        about = next((own for role in ("candidate", "live", "base") if (own := self.evaluations.get(role))), [])
        found = next((one.metrics.get(metric) for one in about if one.query_set == query_set), None)
        return found.mean if found else None


def reports_page(store: ArtifactStore) -> str:
    """The page, as it is now."""
    told = newest(store)
    measured = {
        name: {metric: [one.measured(name, metric) for one in told] for metric in METRICS}
        for name in SETS
        if any(one.measured(name, metric) is not None for one in told for metric in METRICS)
    }
    lines = [
        found
        for name, metrics in measured.items()
        for metric, values in metrics.items()
        if (found := line(f"{METRICS[metric]}, {name}", values))
    ]
    return render_template(
        "reports.html",
        TEMPLATES,
        told=told[::-1],
        sets=list(measured),
        metrics=METRICS,
        lines=lines if len(told) > 1 else [],
    )


def newest(store: ArtifactStore) -> list[Told]:
    """The newest reports, in order; unreadable ones are left out."""
    files = [file for file in store.files(FOLDER) if file.path[2:] == (DATA,)]
    told = []
    for file in sorted(files, key=lambda file: file.modified)[-SHOWN:]:
        try:
            told.append(Told.model_validate(store.read_json(*file.path)))
        except (ValueError, FileNotFoundError) as error:
            log.warning("%s is left out: %s", "/".join(file.path), " ".join(str(error).split())[:200])
    return sorted(told, key=lambda one: one.created_at)
