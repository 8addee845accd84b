"""Who is evicted and when: pure objects, events with a time in, actions out.

A policy sees only what it is told and touches nothing, so that a live server and a simulation in virtual time can
drive the same object.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from djinn.config import SchedulingMode
from djinn.scheduling.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """What a policy may know of a session.

    Attributes:
        session_id: its name.
        state: where it stands.
        idle_since_s: when its last request ended or it was opened, on the driver's clock.
        arena_bytes: what evicting it frees.
        estimated_resume_s: when its client expects to continue, if it said so.
    """

    session_id: str
    state: State
    idle_since_s: float
    arena_bytes: int
    estimated_resume_s: float | None = None


class Policy(Protocol):
    """The decisions that a scheduling mode consists of.

    Attributes:
        honours_signals: whether phase signals change a session's state.
        can_evict: whether waiting for memory can ever help while no session ends.
    """

    honours_signals: bool
    can_evict: bool

    def select_evictions(self, now_s: float, sessions: Iterable[SessionView]) -> list[str]:
        """Name the sessions to evict now, in order."""

    def next_deadline_s(self, sessions: Iterable[SessionView]) -> float | None:
        """When `select_evictions` could next name another session without any event before."""


class NeverEvict:
    """Mode `none`: what does not fit is out of memory."""

    honours_signals = False
    can_evict = False

    def select_evictions(self, now_s: float, sessions: Iterable[SessionView]) -> list[str]:
        """Keep every session."""
        return []

    def next_deadline_s(self, sessions: Iterable[SessionView]) -> float | None:
        """Nothing will ever be due."""
        return None


class EvictIdle:
    """Mode `reactive`: a session that was idle for the timeout is evicted; signals are ignored."""

    honours_signals = False
    can_evict = True

    def __init__(self, idle_timeout_s: float) -> None:
        self.idle_timeout_s = idle_timeout_s

    def select_evictions(self, now_s: float, sessions: Iterable[SessionView]) -> list[str]:
        """Evict who has been idle for the timeout, longest idle first."""
        due = [s for s in sessions if s.state is State.IDLE and now_s >= s.idle_since_s + self.idle_timeout_s]
        return [s.session_id for s in sorted(due, key=lambda s: s.idle_since_s)]

    def next_deadline_s(self, sessions: Iterable[SessionView]) -> float | None:
        """When the longest idle session reaches the timeout."""
        idle_since = [s.idle_since_s for s in sessions if s.state is State.IDLE]
        return min(idle_since) + self.idle_timeout_s if idle_since else None


class EvictOnSignal:
    """Mode `proactive`: a session is evicted when it announces IO_WAIT; announcing COMPUTE restores it."""

    honours_signals = True
    can_evict = True

    def select_evictions(self, now_s: float, sessions: Iterable[SessionView]) -> list[str]:
        """Evict who announced a wait, farthest estimated resume first."""
        waiting = [s for s in sessions if s.state is State.IO_WAIT]
        return [s.session_id for s in sorted(waiting, key=_resume_estimate, reverse=True)]

    def next_deadline_s(self, sessions: Iterable[SessionView]) -> float | None:
        """Signals are the only cause."""
        return None


def _resume_estimate(session: SessionView) -> float:
    return float("inf") if session.estimated_resume_s is None else session.estimated_resume_s


def make_policy(mode: SchedulingMode, *, idle_timeout_s: float) -> Policy:
    """Return the policy of a scheduling mode."""
    if mode == "reactive":
        return EvictIdle(idle_timeout_s)
    return EvictOnSignal() if mode == "proactive" else NeverEvict()
