"""The search page behind Airflow's login: the service's own, passed on.

The model would make the web server some hundred MiB larger, and slower while it searches: so the page comes from the
service, which may be on another machine. Nothing of the reader's goes there but the question, and nothing of it is
recorded: who looks after search is no listener.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import httpx
from fastapi import Request
from fastapi.responses import Response

from include.pages.header import STYLE_HASH, with_header

PREFIX = "search/"
"""Where it is, below the prefix of the pages."""
POLICY = (
    f"default-src 'none'; style-src 'self' {STYLE_HASH}; img-src 'self'; media-src http: https:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
PASSED_ON = ("Cache-Control", "Content-Type", "Retry-After")
CONNECTIONS = 8
SECONDS = httpx.Timeout(15, connect=2)
_ADDRESS = re.compile(rb'(?<= )(href|src|action)="/')
"""Of the service's own templates: in what they quote, each ``"`` is escaped."""


class SearchNotThereError(RuntimeError):
    """The service does not answer."""


class SearchPage:
    """What passes the page on.

    :param url: where the service is.
    :param token: what it wants to see, if it wants one.
    """

    def __init__(self, url: str, token: str | None) -> None:
        headers = {"DNT": "1", "Accept": "text/html"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._url = httpx.URL(url)
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=SECONDS,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            trust_env=False,
            follow_redirects=False,
        )

    async def answer(self, path: str, request: Request) -> Response:
        """The service's answer to a request, under the common header and with its links led here.

        :param path: of the service, without its first slash.
        :raises SearchNotThereError: it does not answer.
        """
        url = self._url.copy_with(path="/" + quote(path.lstrip("/")), query=request.url.query.encode())
        try:
            found = await self._client.get(url)
        except httpx.HTTPError as error:
            raise SearchNotThereError(str(error)) from error
        headers = {name: found.headers[name] for name in PASSED_ON if name in found.headers}
        headers |= {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
        page = found.content
        if headers.get("Content-Type", "").startswith("text/html"):
            up = "../" * path.count("/") or "./"
            page = with_header(_ADDRESS.sub(rb'\1="' + up.encode(), page), f"/{PREFIX}{path}")
        return Response(page, found.status_code, headers)
