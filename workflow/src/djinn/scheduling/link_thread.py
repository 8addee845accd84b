"""A thread that carries out the copies of one link, in order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")


class LinkThread(Generic[Item]):
    """Copies what is queued and reports each copy when it is complete."""

    def __init__(self, name: str, copy: Callable[[Item], None], report: Callable[[Item], None]) -> None:
        self._copy = copy
        self._report = report
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Queue a copy."""
        self._queue.put(item)

    def stop(self) -> None:
        """Finish what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            self._copy(item)
            self._report(item)
