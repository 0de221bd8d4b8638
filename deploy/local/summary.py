"""What `make run` ends with: what was ingested, trained and measured, and what search answers now."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from include.episodes import snapshot
from include.evaluation.metrics import METRIC_NAMES
from include.evaluation.report import ROLE_NAMES, ReportData
from include.index.live import read_live
from include.quality.result import docs_of
from include.retriever.registry import newest_trained
from include.search.__main__ import results_table
from include.search.opening import open_search
from include.settings import Settings
from include.storage import ArtifactStore

EXAMPLES = (
    "eat better during the holidays",
    "why can't I sleep at night",
    "what happens to old electric car batteries",
)
SHOWN_HITS = 3


def show_summary(settings: Settings, console: Console) -> None:
    """Print the state of the installation."""
    store = ArtifactStore(settings.installation.artifacts_root)
    _show_ingested(store, console)
    _show_trained(store, console)
    live = read_live(store)
    if live is None:
        console.print(Text("Nothing is live yet.", style="yellow"))
        return
    if live.report:
        report = ReportData.model_validate(store.read_json(live.report.replace("index.html", "report.json")))
        _show_metrics(report, console)
        console.print(Text(f"Report    {store.path(live.report)}"))
    console.print(Text(f"Live      {live.namespace} on snapshot {live.snapshot_id}"), "")
    _show_answers(settings, console)


def _show_ingested(store: ArtifactStore, console: Console) -> None:
    latest = snapshot.latest(store)
    if latest is None:
        return
    console.print(
        "",
        Text(f"Ingested  {latest.episodes:,} episodes of {latest.shows:,} shows (snapshot {latest.snapshot_id})"),
        Text(f"          quarantined: {_counted(latest.quarantined)}"),
        Text(f"          kept with a warning: {_counted(latest.warnings)}"),
        Text(f"          Data Docs: {store.path(docs_of(store, latest.source_version) or 'quality')}"),
        sep="\n",
    )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items()) or "nothing"


def _show_trained(store: ArtifactStore, console: Console) -> None:
    model = newest_trained(store)
    if model is None:
        return
    before, after = (model.telling_metrics.get(when, {}) for when in ("before", "after"))
    figures = ", ".join(f"{name} {before[name]:.3f} → {after[name]:.3f}" for name in after)
    pairs = ", ".join(f"{count:,} {origin}" for origin, count in model.pairs.items())
    console.print(
        Text(f"Trained   {model.version} on {sum(model.pairs.values()):,} pairs ({pairs}) in {model.seconds:.0f} s"),
        *([Text(f"          in-batch: {figures}")] if figures else []),
        sep="\n",
    )


def _show_metrics(report: ReportData, console: Console) -> None:
    table = Table(title="Hybrid search, by meaning and words", title_justify="left")
    table.add_column("queries")
    table.add_column("model")
    for name in METRIC_NAMES.values():
        table.add_column(name, justify="right")
    rows = [(item.query_set, ROLE_NAMES[role], item) for role, own in report.evaluations.items() for item in own]
    for query_set, role, item in sorted(rows, key=lambda row: row[0], reverse=True):
        figures = [f"{item.metrics[metric].mean:.3f}" for metric in METRIC_NAMES]
        table.add_row(f"{query_set} ({item.queries:,})", role, *figures)
    console.print(table)
    if report.decision:
        verdict = "passed: it goes live" if report.decision.passed else "was refused: the live model stays"
        by = " (a person decided)" if report.decision.overruled else ""
        console.print(Text(f"Gate      the candidate {verdict}{by}"))
        for reason in report.decision.reasons:
            console.print(Text(f"          {reason}", style="dim"))


def _show_answers(settings: Settings, console: Console) -> None:
    service = open_search(settings)
    for query, hits in zip(EXAMPLES, service.search_many(EXAMPLES, SHOWN_HITS), strict=True):
        console.print(results_table(query, hits))
    console.print(
        Text(
            f'Ask your own: make search Q="…", or run make serve and open {settings.search.reached_at}',
            style="dim",
        )
    )
