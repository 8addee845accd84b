"""The clock's thread ticks what is due, is woken by what becomes due earlier, and ends when told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from djinn.scheduling.clock_thread import ClockThread

_PATIENCE_S = 20.0


class Work:
    """Something that is due once."""

    def __init__(self) -> None:
        self.next_tick_s = float("inf")
        self.ticked_at_s: list[float] = []
        self.ticked = threading.Event()

    def tick(self, now_s: float) -> None:
        """Note it and be due no more."""
        self.next_tick_s = float("inf")
        self.ticked_at_s.append(now_s)
        self.ticked.set()


@pytest.fixture
def work() -> Work:
    """What is to be ticked."""
    return Work()


@pytest.fixture
def lock() -> threading.RLock:
    """What guards it."""
    return threading.RLock()


@pytest.fixture
def thread(work: Work, lock: threading.RLock) -> Iterator[ClockThread]:
    """A clock's thread that is stopped."""
    watching = ClockThread(work, lock, time.monotonic)
    yield watching
    watching.stop()


def _set(work: Work, lock: threading.RLock, thread: ClockThread, in_s: float) -> float:
    with lock:
        work.next_tick_s = time.monotonic() + in_s
        thread.look()
        return work.next_tick_s


def test_what_is_due_is_ticked_and_not_before(work: Work, lock: threading.RLock, thread: ClockThread) -> None:
    """Once."""
    due_s = _set(work, lock, thread, 0.05)
    assert work.ticked.wait(_PATIENCE_S)
    assert work.ticked_at_s[0] >= due_s
    assert len(work.ticked_at_s) == 1


def test_an_earlier_time_wakes_it(work: Work, lock: threading.RLock, thread: ClockThread) -> None:
    """It sleeps until an hour has passed otherwise."""
    _set(work, lock, thread, 3600.0)
    _set(work, lock, thread, 0.0)
    assert work.ticked.wait(_PATIENCE_S)


def test_it_ends_while_it_sleeps(work: Work, lock: threading.RLock) -> None:
    """Whatever it waits for."""
    thread = ClockThread(work, lock, time.monotonic)
    _set(work, lock, thread, 3600.0)
    stopping = threading.Thread(target=thread.stop, daemon=True)
    stopping.start()
    stopping.join(_PATIENCE_S)
    assert not stopping.is_alive()
    assert not work.ticked.is_set()
