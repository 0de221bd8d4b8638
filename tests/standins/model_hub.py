"""A stand-in for the Hugging Face hub that the real client downloads from, with ``HF_ENDPOINT``, over real HTTP."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.standins.serving import serving


@dataclass
class ModelHub:
    """Models by id, each with the files of some branches; the commit of a branch follows from its files.

    :param models: id -> branch -> folder.
    :param token: if set, only requests that bring it are answered.
    :param refuse: id -> status and ``X-Error-Code`` that every request for it is answered with.
    :param hang_up_on: a download whose name ends so is cut off in the middle.
    """

    models: dict[str, dict[str, Path]] = field(default_factory=dict)
    token: str | None = None
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    hang_up_on: str | None = None
    downloads: list[str] = field(default_factory=list)
    """Names of the files that were sent."""
    address: str = ""

    def commit(self, model: str, branch: str) -> str:
        names = [(file.name, file.read_bytes()) for file in sorted(self.models[model][branch].iterdir())]
        return hashlib.sha1(repr(names).encode()).hexdigest()

    def find(self, model: str, revision: str) -> tuple[str, Path] | None:
        """The commit and the folder of a branch or a commit."""
        for branch, folder in self.models.get(model, {}).items():
            if revision in (branch, self.commit(model, branch)):
                return self.commit(model, branch), folder
        return None

    @contextmanager
    def serve(self) -> Iterator[ModelHub]:
        """Answer until the end of the block, at ``address``."""
        with serving(_Handler, standin=self) as port:
            self.address = f"http://127.0.0.1:{port}"
            yield self


class _Handler(BaseHTTPRequestHandler):
    standin: ModelHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        hub = self.standin
        path = unquote(urlsplit(self.path).path)
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+?))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/(.+)/([^/]+)", path)
        match = api or file
        if match and match[1] in hub.refuse:
            status, code = hub.refuse[match[1]]
            self._send(status, b"{}", {"X-Error-Code": code}, body=body)
        elif hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
        elif match is None or match[1] not in hub.models:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
        else:
            revision = (match[3] if api else match[2]) or "main"
            found = hub.find(match[1], revision)
            if found is None:
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
            elif api:
                self._send_api(match[2] == "tree", *found, body=body)
            else:
                self._send_file(match[3], *found, body=body)

    def _send_api(self, tree: bool, commit: str, folder: Path, *, body: bool) -> None:
        files = sorted(folder.iterdir())
        answer: Any = {"id": "x", "sha": commit, "siblings": [{"rfilename": file.name} for file in files]}
        if tree:
            answer = [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _etag(file)} for file in files
            ]
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body=body)

    def _send_file(self, name: str, commit: str, folder: Path, *, body: bool) -> None:
        file = folder / name
        if not file.is_file():
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, body=body)
            return
        headers = {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": commit, "X-Linked-Size": str(file.stat().st_size)}
        cut = bool(self.standin.hang_up_on and name.endswith(self.standin.hang_up_on))
        if body:
            self.standin.downloads.append(name)
        self._send(200, file.read_bytes(), headers, body=body, cut=cut)

    def _send(self, status: int, data: bytes, headers: dict[str, str], *, body: bool, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if body and cut:
            self.close_connection = True


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
