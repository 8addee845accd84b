"""The sessions that one request computes with, from the moment it may until it has ended."""

from __future__ import annotations

from collections.abc import Callable

from djinn.scheduling.entries import Entry


class Running:
    """Keeps sessions resident and unevictable until `leave`; as a context, until its end.

    Attributes:
        restore_us: how long restoring them took, in microseconds.
    """

    __slots__ = ("_entries", "_leave", "restore_us")

    def __init__(self, leave: Callable[[Entry], None]) -> None:
        self._leave = leave
        self._entries: list[Entry] = []
        self.restore_us = 0.0

    def add(self, entry: Entry) -> None:
        """Take a session along that may compute now."""
        self._entries.append(entry)
        self.restore_us += entry.restore_us

    def leave(self) -> None:
        """Let the sessions go; a second call does nothing."""
        while self._entries:
            self._leave(self._entries.pop())

    def __enter__(self) -> float:
        return self.restore_us

    def __exit__(self, *_: object) -> None:
        self.leave()
