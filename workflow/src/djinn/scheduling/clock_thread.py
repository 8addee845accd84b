"""The thread that watches the time: it carries out what is due, and sleeps for as long as nothing is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


class Ticking(Protocol):
    """What has something to do at times."""

    @property
    def next_tick_s(self) -> float:
        """When, infinity if never without an event before."""

    def tick(self, now_s: float) -> None:
        """Carry out what is due."""


class ClockThread:
    """Ticks something that a lock guards."""

    def __init__(self, ticking: Ticking, lock: threading.RLock, clock: Callable[[], float]) -> None:
        self._ticking = ticking
        self._clock = clock
        self._due = threading.Condition(lock)
        self._watched_s = float("inf")
        self._is_stopping = False
        self._thread = threading.Thread(target=self._watch, name="djinn-clock", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Wake the thread if something is due before what it waits for; called with the lock held."""
        if self._ticking.next_tick_s < self._watched_s:
            self._due.notify()

    def stop(self) -> None:
        """End the thread; called without the lock."""
        with self._due:
            self._is_stopping = True
            self._due.notify()
        self._thread.join()

    def _watch(self) -> None:
        with self._due:
            while not self._is_stopping:
                self._watched_s = self._ticking.next_tick_s
                remaining_s = self._watched_s - self._clock()
                if remaining_s > 0:
                    self._due.wait(None if remaining_s == float("inf") else remaining_s)
                else:
                    self._ticking.tick(self._clock())
