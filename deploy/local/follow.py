"""Following the pipeline to its end: a line for each change of a task, and now and then what a long one says."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from deploy.local.api import AirflowApi, DagRun, TaskInstance

POLL_SECONDS = 2.0
"""Each look costs Airflow's API server a few hundredths of a second, on the cores that the tasks work on."""
NEWS_SECONDS = 15.0
QUIET_POLL_SECONDS = 1.0
QUIET_POLLS = 3
"""So many polls without a run or a waiting event, and the pipeline is at its end."""
_FRAME = ("::", "Skipping task", "DAG bundles loaded", "Filling up the DagBag", "Worker startup")
"""Starts of the lines that Airflow writes around what a task has to say."""
SHOWN = {
    "running": ("…", "cyan"),
    "success": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "upstream_failed": ("✗", "red"),
    "up_for_retry": ("↻", "yellow"),
    "skipped": ("–", "dim"),
    "awaiting_input": ("?", "bold yellow"),
}


class Follower:
    """Shows what Airflow does until nothing is left to do.

    :param logs: Airflow's folder of task logs.
    """

    def __init__(self, api: AirflowApi, logs: Path, console: Console, *, since: datetime) -> None:
        self._api = api
        self._logs = logs
        self._console = console
        self._since = since
        self._states: dict[tuple[str, str, str, int], tuple[int, str | None]] = {}
        self._news: dict[tuple[str, str, str, int], tuple[float, str]] = {}
        self._announced: set[tuple[str, str]] = set()
        self._ended: set[DagRun] = set()
        """Runs that were shown to their end: one that is cleared is queued at another time."""

    def follow(self, dag_ids: list[str], check: Callable[[], None]) -> list[DagRun]:
        """Follow all runs, those that assets start included, until none is left; the runs.

        :param check: called at every poll; raises when following is in vain.
        """
        quiet, going = 0, True
        while True:
            check()
            # Events before the runs: a run that they start between the two calls is then seen by the second.
            waiting = not going and any(self._api.has_queued_assets(dag_id) for dag_id in dag_ids)
            runs = self._api.runs(self._since)
            for run in runs:
                if run not in self._ended:
                    self._show(run)
            self._ended.update(run for run in runs if run.is_finished)
            going = not runs or any(not run.is_finished for run in runs)
            quiet = 0 if waiting or going else quiet + 1
            if quiet >= QUIET_POLLS:
                return runs
            time.sleep(QUIET_POLL_SECONDS if quiet else POLL_SECONDS)

    def failures(self, runs: list[DagRun]) -> list[TaskInstance]:
        """The tasks that failed."""
        return [
            task for run in runs if run.state == "failed" for task in self._api.tasks(run) if task.state == "failed"
        ]

    def log_lines(self, task: TaskInstance, count: int) -> list[str]:
        """The last lines of a task's log, as text."""
        folder = self._logs / f"dag_id={task.dag_id}" / f"run_id={task.run_id}" / f"task_id={task.task_id}"
        if task.map_index >= 0:
            folder /= f"map_index={task.map_index}"
        files = sorted(folder.glob("attempt=*.log"), key=lambda file: file.stat().st_mtime)
        if not files:
            return []
        with files[-1].open(errors="replace") as stream:
            lines = [text for line in deque(stream, maxlen=4 * count) for text in _readable(line)]
        return lines[-count:]

    def _show(self, run: DagRun) -> None:
        tasks = self._api.tasks(run)
        if (run.dag_id, run.run_id) not in self._announced and any(task.state for task in tasks):
            self._announced.add((run.dag_id, run.run_id))
            self._console.print(Text(f"▶ {run.dag_id}", style="bold"))
        for task in tasks:
            if self._states.get(task.key) != (task.try_number, task.state):
                self._states[task.key] = (task.try_number, task.state)
                self._show_change(task)
            elif task.state == "running":
                self._show_news(task)

    def _show_change(self, task: TaskInstance) -> None:
        if task.state not in SHOWN or (task.state == "skipped" and not task.seconds):
            return  # skipped because an earlier task was: that one has said why
        sign, style = SHOWN[task.state]
        took = f"  {task.seconds:.1f} s" if task.seconds and task.state in ("success", "failed") else ""
        self._console.print(Text(f"  {sign} {task.dag_id} · {task.label} {task.state}{took}", style=style))
        self._news[task.key] = (time.monotonic(), "")
        if task.state == "skipped":
            for line in self.log_lines(task, 1):
                self._console.print(Text(f"      {line}", style="dim"))
        if task.state == "awaiting_input":
            user, password = self._api.login()
            self._console.print(
                Text("      It is waiting for you: approve or reject it, and the run continues.", style="yellow"),
                Text(f"      {self._api.question_url(task)}"),
                Text(f"      log in as {user} with the password {password}"),
                sep="\n",
            )

    def _show_news(self, task: TaskInstance) -> None:
        shown_at, shown = self._news.get(task.key, (time.monotonic(), ""))
        if time.monotonic() - shown_at < NEWS_SECONDS:
            return
        line = next(iter(self.log_lines(task, 1)), "")
        self._news[task.key] = (time.monotonic(), line)
        if line and line != shown:
            self._console.print(Text(f"      {task.label}: {line}", style="dim"))


def _readable(line: str) -> list[str]:
    """A line of Airflow's JSON log as text; what is not one as it is."""
    try:
        entry = json.loads(line)
        if str(entry["event"]).startswith(_FRAME):
            return []
        lines = [str(entry["event"])]
        for detail in entry.get("error_detail") or []:
            lines += [
                f'  File "{frame["filename"]}", line {frame["lineno"]}, in {frame["name"]}'
                for frame in detail.get("frames", [])[-4:]
            ]
            lines.append(f"{detail.get('exc_type')}: {detail.get('exc_value')}")
        return lines
    except (ValueError, KeyError, TypeError):
        return [line.rstrip()] if line.strip() else []
