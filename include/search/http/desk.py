"""Where questions are handed in: the service that answers them, opened when it can be, so many at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from include.index.live import NothingLiveError
from include.search.http.capacity import Capacity
from include.search.service import SearchService

T = TypeVar("T")
log = logging.getLogger(__name__)


class Desk:
    """The search service of one process.

    :param open_service: may raise :class:`NothingLiveError`, and is called again for the next question then.

    The other parameters are those of :class:`include.search.http.capacity.Capacity`.
    """

    def __init__(
        self,
        open_service: Callable[[], SearchService],
        *,
        at_work: int,
        waiting: int,
        patience: float,
        seconds: float,
    ) -> None:
        self._open_service = open_service
        self._opening = threading.Lock()
        self.opened: SearchService | None = None
        """What answers, once it is open."""
        self.questions = Capacity(at_work, waiting, patience, seconds)
        self._watchers = Capacity(1, 4, seconds, seconds)

    async def ask(self, work: Callable[[SearchService], T]) -> T:
        """What the service answers.

        :raises NothingLiveError: nothing is live yet.
        :raises BusyError: too many others ask.
        :raises TooSlowError: it takes too long.
        """
        return await self.questions.run(lambda: work(self._opened()))

    async def watch(self) -> None:
        """Do nothing if questions can be answered, however many there are. Raises as :meth:`ask`."""
        await self._watchers.run(lambda: self._opened().live())

    def begin(self) -> None:
        """Open what is live before the first question needs it."""
        threading.Thread(target=self._open_early, name="open", daemon=True).start()

    def close(self) -> None:
        """Begin with no other question."""
        self.questions.close()
        self._watchers.close()

    def _opened(self) -> SearchService:
        with self._opening:
            if self.opened is None:
                self.opened = self._open_service()
            return self.opened

    def _open_early(self) -> None:
        try:
            self._opened().vocabulary()
        except NothingLiveError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("What is live cannot be opened.")
