"""The same work, asked for by several threads at the same time, is done once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """Work that is under way, by what names it. Nothing is kept once it is done."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, Future[T]] = {}
        self._lock = threading.Lock()

    def run(self, name: Hashable, work: Callable[[], T]) -> T:
        """What the work returns or raises: that of whoever asked for it first, while it is under way."""
        with self._lock:
            first = name not in self._under_way
            future = self._under_way.setdefault(name, Future())
        if not first:
            return future.result()
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
        finally:
            with self._lock:
                del self._under_way[name]
        return future.result()
