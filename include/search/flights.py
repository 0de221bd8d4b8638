"""The same work, requested by several threads at the same time, is done once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """Work in progress, by key. Nothing is kept once it is done."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, Future[T]] = {}
        self._lock = threading.Lock()

    def run(self, name: Hashable, work: Callable[[], T]) -> T:
        """The result or error of the work; while it is in progress, later callers share the first one's."""
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
