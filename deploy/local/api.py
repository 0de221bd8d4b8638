"""The few calls of Airflow's REST API that following a pipeline needs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from deploy.local.environment import base_url, links_url, passwords_file
from include.alerts.addresses import run_url
from include.settings import Settings

STARTUP_SECONDS = 180
ATTEMPTS = 5
BACKOFF_SECONDS = 0.5
PAGE = 100
"""Airflow's own limit for a page of results."""


class ApiError(RuntimeError):
    """Airflow's API does not answer, or refuses; the message says to what."""


@dataclass(frozen=True)
class DagRun:
    """A DAG run."""

    dag_id: str
    run_id: str
    state: str
    queued_at: datetime | None

    @property
    def is_finished(self) -> bool:
        return self.state in ("success", "failed")


@dataclass(frozen=True)
class TaskInstance:
    """A task of a DAG run, at one try."""

    id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    state: str | None
    seconds: float | None
    label: str

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.dag_id, self.run_id, self.task_id, self.map_index


class AirflowApi:
    """A logged-in client."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.Client(base_url=base_url(settings), timeout=30, trust_env=False)

    def wait_until_up(self, check: Callable[[], None]) -> None:
        """Wait until the server, the scheduler and the DAG processor are healthy, and log in.

        :param check: called while waiting; raises when waiting is in vain.
        :raises TimeoutError: they did not come up.
        """
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            check()
            try:
                health = self._client.get("/api/v2/monitor/health").json()
                if all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor")):
                    self._log_in()
                    return
            except (httpx.HTTPError, ValueError, KeyError, TypeError):
                pass
            time.sleep(0.5)
        raise TimeoutError(f"Airflow did not become healthy within {STARTUP_SECONDS} s; see `make down` and the logs.")

    def login(self) -> tuple[str, str]:
        """User and password."""
        file = passwords_file(self._settings)
        try:
            user, password = next(iter(json.loads(file.read_text()).items()))
        except (ValueError, AttributeError, StopIteration):
            raise ApiError(f"{file} is damaged: remove it and restart Airflow, which creates a new one.") from None
        return user, password

    def ensure_pool(self, name: str, slots: int, description: str) -> None:
        """Make a pool, if it is not there; slots that somebody changed are left as they are."""
        if self._request("GET", f"/api/v2/pools/{name}").status_code == httpx.codes.NOT_FOUND:
            body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
            made = self._request("POST", "/api/v2/pools", json=body)
            if made.status_code != httpx.codes.CONFLICT:  # another command, or an answer that was lost, was first
                _content(made)

    def wait_for_dags(self, dag_ids: list[str], check: Callable[[], None]) -> None:
        """Wait until the DAG processor has read the DAGs.

        :raises ApiError: one of them cannot be imported, or did not appear.
        """
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            check()
            if {dag["dag_id"] for dag in self._pages("/api/v2/dags", "dags")}.issuperset(dag_ids):
                return
            for error in self._pages("/api/v2/importErrors", "import_errors"):
                raise ApiError(f"{error['filename']} cannot be imported:\n{error['stack_trace']}")
            time.sleep(0.5)
        raise ApiError(f"Airflow did not find the DAGs {', '.join(dag_ids)}.")

    def unpause(self, dag_id: str) -> None:
        self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, params: dict[str, Any] | None = None) -> str:
        """Start a run; its id."""
        body = {"logical_date": None, "conf": params or {}}
        run = self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        return str(run["dag_run_id"])

    def runs(self, since: datetime) -> list[DagRun]:
        """Runs of all DAGs that are unfinished, or were queued since some time; oldest first."""
        found = self._call("GET", "/api/v2/dags/~/dagRuns", params={"order_by": "-run_after", "limit": PAGE})[
            "dag_runs"
        ]
        runs = [
            DagRun(item["dag_id"], item["dag_run_id"], item["state"], _time(item["queued_at"]))
            for item in reversed(found)
        ]
        return [run for run in runs if not run.is_finished or (run.queued_at and run.queued_at >= since)]

    def has_queued_assets(self, dag_id: str) -> bool:
        """Whether asset events wait to start a run of the DAG."""
        response = self._request("GET", f"/api/v2/dags/{dag_id}/assets/queuedEvents")
        return response.status_code != httpx.codes.NOT_FOUND and bool(_content(response)["total_entries"])

    def tasks(self, run: DagRun) -> list[TaskInstance]:
        """The task instances of a run."""
        path = f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances"
        return [_task(item) for item in self._pages(path, "task_instances")]

    def question_url(self, task: TaskInstance) -> str:
        """The page where a person answers what a task asks."""
        return run_url(links_url(self._settings), task.dag_id, task.run_id, task.task_id) + "/required_actions"

    def _log_in(self) -> None:
        user, password = self.login()
        response = self._client.post("/auth/token", json={"username": user, "password": password}).raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    def _pages(self, path: str, key: str) -> Iterator[dict[str, Any]]:
        """All items of a collection, page by page."""
        offset, total = 0, 1
        while offset < total:
            page = self._call("GET", path, params={"limit": PAGE, "offset": offset})
            yield from page[key]
            offset, total = offset + PAGE, page["total_entries"]

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        return _content(self._request(method, path, **arguments))

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One call; a server that is busy for a moment, or a token that ran out, is met by trying again.

        :raises ApiError: Airflow did not answer.
        """
        problem = ""
        for attempt in range(ATTEMPTS):
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1) if attempt else 0)
            try:
                response = self._client.request(method, path, **arguments)
                if response.status_code == httpx.codes.UNAUTHORIZED:
                    self._log_in()
                elif not response.is_server_error:
                    return response
                problem = f"{response.status_code} {response.reason_phrase}"
            except httpx.HTTPError as error:
                problem = str(error) or type(error).__name__
        raise ApiError(f"Airflow does not answer {method} {path}: {problem}")


def _content(response: httpx.Response) -> dict[str, Any]:
    """What was answered.

    :raises ApiError: the call was refused.
    """
    if not response.is_success:
        request = response.request
        raise ApiError(f"Airflow refused {request.method} {request.url.path}: {response.status_code} {response.text}")
    content: dict[str, Any] = response.json()
    return content


def _task(item: dict[str, Any]) -> TaskInstance:
    index = item["map_index"]
    label = item["task_id"] + (f" [{item.get('rendered_map_index') or index}]" if index >= 0 else "")
    return TaskInstance(
        id=item["id"],
        dag_id=item["dag_id"],
        run_id=item["dag_run_id"],
        task_id=item["task_id"],
        map_index=index,
        try_number=item["try_number"],
        state=item["state"],
        seconds=item["duration"],
        label=label,
    )


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
