"""A stand-in that speaks as much of Airflow's REST API as the local runner uses, over real HTTP on a free port."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.standins.serving import serving

PAGE_LIMIT = 100
DISCONNECT = 0
"""In place of a status: the connection is closed without an answer."""


@dataclass
class Moment:
    """What Airflow would answer at one time.

    :param runs: state of each run by ``(dag_id, run_id)``.
    :param tasks: task instances of each run.
    :param queued: DAGs that asset events wait to start.
    """

    runs: dict[tuple[str, str], str] = field(default_factory=dict)
    tasks: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    queued: set[str] = field(default_factory=set)


def task(task_id: str, state: str | None, **values: Any) -> dict[str, Any]:
    """A task instance as the API describes it."""
    plain = {"map_index": -1, "try_number": 1, "duration": 1.5, "rendered_map_index": None}
    return plain | {"task_id": task_id, "state": state} | values


class AirflowStandIn:
    """The server; each look at the runs shows the next of its moments, and from then on the last one.

    ``faults`` are answered to the next requests, one each, before anything else is.
    """

    def __init__(self, moments: list[Moment] | None = None) -> None:
        self.moments = moments or [Moment()]
        self.queued_at = "2099-01-01T00:00:00+00:00"
        self.password = "secret"
        self.tokens = 0
        self.faults: list[int] = []
        self.pools: dict[str, dict[str, Any]] = {}
        self.dags: dict[str, bool] = {}
        """Whether each DAG is paused."""
        self.import_errors: list[dict[str, str]] = []
        self.health = {part: {"status": "healthy"} for part in ("metadatabase", "scheduler", "dag_processor")}
        self.triggered: list[str] = []
        self.requests: list[str] = []
        self._moment = 0
        self._looked = False

    @contextmanager
    def serve(self) -> Iterator[int]:
        """Answer until the end of the block; the port."""
        with serving(_Handler, airflow=self) as port:
            yield port

    @property
    def now(self) -> Moment:
        return self.moments[self._moment]

    def expire_token(self) -> None:
        self.tokens += 1

    def answer(self, method: str, path: str, query: dict[str, int], body: dict[str, Any]) -> tuple[int, Any]:
        """Status and content of one request to ``/api/v2``."""
        for pattern, answer in _ROUTES.items():
            if match := re.fullmatch(pattern, f"{method} {path}"):
                status, content = answer(self, body, *match.groups())
                return status, _page(content, query) if isinstance(content, dict) else content
        return 404, {"detail": f"no such route: {method} {path}"}

    def _show_queued(self, _body: dict[str, Any], dag_id: str) -> tuple[int, Any]:
        if dag_id not in self.now.queued:
            return 404, {"detail": "Queue event not found"}
        return 200, {"queued_events": [{"dag_id": dag_id}]}

    def _show_runs(self, _body: dict[str, Any]) -> tuple[int, Any]:
        if self._looked:
            self._moment = min(self._moment + 1, len(self.moments) - 1)
        self._looked = True
        runs = [
            {"dag_id": dag_id, "dag_run_id": run_id, "state": state, "queued_at": self.queued_at}
            for (dag_id, run_id), state in self.now.runs.items()
        ]
        return 200, {"dag_runs": runs[::-1]}

    def _show_tasks(self, _body: dict[str, Any], dag_id: str, run_id: str) -> tuple[int, Any]:
        tasks = self.now.tasks.get((dag_id, run_id), [])
        return 200, {"task_instances": [item | {"dag_id": dag_id, "dag_run_id": run_id, "id": "x"} for item in tasks]}

    def _trigger(self, body: dict[str, Any], dag_id: str) -> tuple[int, Any]:
        if "logical_date" not in body:
            return 422, {"detail": "logical_date is required"}
        self.triggered.append(dag_id)
        return 200, {"dag_run_id": f"manual__{len(self.triggered)}"}

    def _show_pool(self, _body: dict[str, Any], name: str) -> tuple[int, Any]:
        return (200, self.pools[name]) if name in self.pools else (404, {"detail": "no such pool"})

    def _add_pool(self, body: dict[str, Any]) -> tuple[int, Any]:
        if body["name"] in self.pools:
            return 409, {"detail": "there is one"}
        self.pools[body["name"]] = body
        return 201, body

    def _show_dags(self, _body: dict[str, Any]) -> tuple[int, Any]:
        return 200, {"dags": [{"dag_id": dag_id, "is_paused": paused} for dag_id, paused in self.dags.items()]}

    def _show_import_errors(self, _body: dict[str, Any]) -> tuple[int, Any]:
        return 200, {"import_errors": self.import_errors}

    def _change_dag(self, body: dict[str, Any], dag_id: str) -> tuple[int, Any]:
        if dag_id not in self.dags:
            return 404, {"detail": "no such DAG"}
        self.dags[dag_id] = body["is_paused"]
        return 200, {"dag_id": dag_id}

    def _show_health(self, _body: dict[str, Any]) -> tuple[int, Any]:
        return 200, self.health


_ROUTES: dict[str, Callable[..., tuple[int, Any]]] = {
    r"GET /monitor/health": AirflowStandIn._show_health,
    r"GET /pools/([^/]+)": AirflowStandIn._show_pool,
    r"POST /pools": AirflowStandIn._add_pool,
    r"GET /dags": AirflowStandIn._show_dags,
    r"PATCH /dags/([^/]+)": AirflowStandIn._change_dag,
    r"GET /importErrors": AirflowStandIn._show_import_errors,
    r"GET /dags/([^/]+)/assets/queuedEvents": AirflowStandIn._show_queued,
    r"GET /dags/~/dagRuns": AirflowStandIn._show_runs,
    r"POST /dags/([^/]+)/dagRuns": AirflowStandIn._trigger,
    r"GET /dags/([^/]+)/dagRuns/([^/]+)/taskInstances": AirflowStandIn._show_tasks,
}


def _page(content: dict[str, Any], query: dict[str, int]) -> dict[str, Any]:
    """A collection as Airflow pages it; what is not one as it is."""
    for key, items in content.items():
        if isinstance(items, list):
            start, limit = query.get("offset", 0), min(query.get("limit", PAGE_LIMIT), PAGE_LIMIT)
            return {key: items[start : start + limit], "total_entries": len(items)}
    return content


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer: the second of two would wait for the first one's receipt
    airflow: AirflowStandIn

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the output of the tests clean."""

    def _handle(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        url = urlsplit(self.path)
        self.airflow.requests.append(f"{self.command} {url.path}")
        if self.airflow.faults and (fault := self.airflow.faults.pop(0)) != 200:
            if fault == DISCONNECT:
                self.close_connection = True
                return
            self._send(fault, {"detail": "a fault"})
        elif url.path == "/auth/token":
            right = body == {"username": "admin", "password": self.airflow.password}
            self._send(*((201, {"access_token": f"token-{self.airflow.tokens}"}) if right else (401, {})))
        elif url.path != "/api/v2/monitor/health" and not self._is_logged_in():
            self._send(401, {"detail": "Invalid JWT token"})
        else:
            query = {name: int(values[0]) for name, values in parse_qs(url.query).items() if values[0].isdigit()}
            self._send(*self.airflow.answer(self.command, url.path.removeprefix("/api/v2"), query, body))

    def _is_logged_in(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer token-{self.airflow.tokens}"

    def _send(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
