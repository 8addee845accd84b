"""An open session as the live scheduler holds it: its memory, its state, and what its requests wait for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from djinn.memory.arena import Arena
from djinn.scheduling.sessions import Session


@dataclass(slots=True, eq=False)
class Entry:
    """A session with its memory, and what its requests wait for.

    Attributes:
        arena: its memory.
        session: its state; the residency's.
        turn: held by whoever computes with, signals for or closes it.
        restore_us: how long the last restore for a request took.
        answered: set when the residency has answered the request that waits.
        is_rejected: whether the answer was no.
    """

    arena: Arena
    session: Session
    turn: threading.Lock = field(default_factory=threading.Lock)
    restore_us: float = 0.0
    answered: threading.Event = field(default_factory=threading.Event)
    is_rejected: bool = False

    def expect_answer(self) -> None:
        """Forget what the last request was answered, before the next one is made."""
        if self.answered.is_set():
            self.answered.clear()
        self.is_rejected = False
        self.restore_us = 0.0

    def answer(self, *, is_rejected: bool) -> None:
        """Let the request that waits go on, or fail."""
        self.is_rejected = is_rejected
        self.answered.set()

    def note_used_bytes(self) -> None:
        """Tell the residency how much of the arena a copy would have to hold."""
        self.session.used_bytes = self.arena.high_water_bytes
