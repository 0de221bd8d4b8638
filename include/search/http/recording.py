"""Recording over HTTP: whose search it was, and what programs and the page's script report."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from include.episodes.quarantine import MAX_ID_CHARS
from include.feedback.events import MAX_SECONDS, SEARCH, SESSION, new_session
from include.feedback.recorder import Recorder
from include.search.http.pages import SCRIPT
from include.search.http.problems import documented, told
from include.search.service import Answer

PATH = "/events"
COOKIE = "podsearch_session"
COOKIE_SECONDS = 86_400
_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = f"; script-src 'sha256-{_HASH}'; connect-src 'self'"
"""What a recorded page may do beyond others: run this one script, and report to its own server."""

Session = Annotated[str, Field(pattern=f"^{SESSION}$")]
events = APIRouter()


class Happened(BaseModel):
    """What a listener did with an episode that a search found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    search_id: str = Field(pattern=f"^{SEARCH}$", description="The `search_id` in the answer to the search.")
    episode_id: str = Field(min_length=1, max_length=MAX_ID_CHARS)
    action: Literal["opened", "played"]
    seconds: float = Field(default=0, ge=0, le=MAX_SECONDS, description="How long it has been played so far.")
    session: Session | None = Field(default=None, description="The session that the search was made with.")


class Recording:
    """Who makes a request, and what is recorded of it: nothing if there is no recorder, or if they object."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._recorder: Recorder | None = request.app.state.recorder
        cookie = request.cookies.get(COOKIE, "")
        self._known = cookie if re.fullmatch(SESSION, cookie, re.ASCII) else None

    @property
    def recorder(self) -> Recorder | None:
        """The recorder, unless the client does not want to be recorded (Do Not Track, Global Privacy Control)."""
        headers = self._request.headers
        return None if "1" in (headers.get("DNT"), headers.get("Sec-GPC")) else self._recorder

    @property
    def days(self) -> int:
        """How many days searches are kept, as shown on the page."""
        return self.recorder.days if self.recorder else 0

    def searched(
        self, query: str, answer: Answer, *, first: int, count: int, session: str | None = None
    ) -> tuple[str | None, str | None]:
        """Record what is shown of an answer. Returns the search's id and the session; None if nothing is recorded.

        :param first: rank of the first that is shown.
        :param session: the session that a program sent; a page's is in its cookie, or new.
        """
        if self.recorder is None:
            return None, None
        session = session or self._known or new_session()
        shown = [result.episode_id for result in answer.results[first - 1 : first - 1 + count]]
        search = self.recorder.searched(
            session, query, shown, first=first, found=len(answer.results), model=answer.live.model_version
        )
        return search, session if search else None

    def opened(self, search: str, episode_id: str) -> str | None:
        """Record that the page of a result was opened. Returns the search's id if it is valid.

        Prefetches by a browser are not recorded.
        """
        ahead = "prefetch" in self._request.headers.get("Sec-Purpose", "")
        if self.recorder is None or self._known is None or ahead:
            return None
        return search if self.recorder.opened(self._known, search, episode_id) else None

    def remember(self, response: Response, session: str | None) -> None:
        """Give a browser its session, once: it expires after a day, however often it is used."""
        if session and session != self._known:
            secure = self._request.headers.get("X-Forwarded-Proto", self._request.url.scheme) == "https"
            response.set_cookie(COOKIE, session, max_age=COOKIE_SECONDS, httponly=True, samesite="lax", secure=secure)

    def happened(self, what: Happened) -> bool:
        """Record what was opened or played; False if it cannot belong to any search."""
        session = what.session or self._known
        if self.recorder is None:
            return True
        if session is None:
            return False
        if what.action == "opened":
            return self.recorder.opened(session, what.search_id, what.episode_id)
        return self.recorder.played(session, what.search_id, what.episode_id, what.seconds)


@events.post(PATH, status_code=204, responses=documented(413, 422))
async def happened(what: Happened, request: Request) -> Response:
    """Report that a listener opened or played an episode that a search found.

    It counts if that search, in that session, showed the episode. A play may be reported again with more seconds.
    """
    if not Recording(request).happened(what):
        return told(PATH, 422, "It belongs to no search of today or yesterday, or has no session.")
    return Response(status_code=204)
