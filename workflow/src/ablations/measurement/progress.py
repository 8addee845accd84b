"""Says on standard error what runs, how far it is, and how long it will probably take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

_MIN_INTERVAL_TTY_S = 0.2
_MIN_INTERVAL_LOG_S = 5.0


class Progress:
    """Progress of one named piece of work; silent for work that ends quickly."""

    def __init__(
        self, name: str, *, clock: Callable[[], float] = time.monotonic, min_interval_s: float | None = None
    ) -> None:
        """Name the work.

        Args:
            name: of the work.
            clock: monotonic seconds.
            min_interval_s: between two updates; by default short on a terminal and long in a log.
        """
        self._name = name
        self._clock = clock
        self._min_interval_s = min_interval_s
        self._start_s = clock()
        self._last_s = self._start_s
        self._is_tty = sys.stderr.isatty()

    def update(self, done: int, total: int, detail: str = "") -> None:
        """Report that `done` of `total` steps are finished."""
        now_s = self._clock()
        interval_s = self._min_interval_s
        if interval_s is None:
            interval_s = _MIN_INTERVAL_TTY_S if self._is_tty else _MIN_INTERVAL_LOG_S
        if now_s - self._last_s < interval_s and not (self._is_tty and done == total):
            return
        self._last_s = now_s
        remaining_s = (now_s - self._start_s) / max(done, 1) * (total - done)
        text = f"{self._name}: {done}/{total}, about {remaining_s:.0f} s left{' - ' + detail if detail else ''}"
        end = "\n" if done == total or not self._is_tty else "\r"
        print(f"\x1b[2K{text}" if self._is_tty else text, end=end, file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Report something that happened."""
        print(f"{self._name}: {text}", file=sys.stderr, flush=True)
