"""The live scheduler: admits sessions, keeps those that compute resident, and lets a policy choose who leaves.

One worker thread carries evictions out, in the background of requests. Memory is handed to waiters in order of
arrival, so that no session starves.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from djinn.errors import OutOfMemoryError, SessionClosedError
from djinn.memory.arena import Arena
from djinn.memory.vmu import VirtualMemoryUnit
from djinn.scheduling.policies import Policy, SessionView
from djinn.scheduling.states import Event, State, next_state
from djinn.scheduling.swap_pool import SwapPool

PHASES = ("IO_WAIT", "COMPUTE")


@dataclass(slots=True)
class _Session:
    """A session as the scheduler keeps it."""

    arena: Arena
    state: State
    idle_since_s: float
    estimated_resume_s: float | None = None

    def view(self) -> SessionView:
        return SessionView(
            session_id=self.arena.session_id,
            state=self.state,
            idle_since_s=self.idle_since_s,
            arena_bytes=self.arena.arena_bytes,
            estimated_resume_s=self.estimated_resume_s,
        )


class Scheduler:
    """Owns the residency of sessions."""

    def __init__(
        self,
        vmu: VirtualMemoryUnit,
        pool: SwapPool,
        policy: Policy,
        *,
        budget_bytes: int,
        admission_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vmu = vmu
        self._pool = pool
        self._policy = policy
        self._budget_bytes = budget_bytes
        self._admission_timeout_s = admission_timeout_s
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._resident_bytes = 0
        self._waiters: deque[object] = deque()
        self._num_signals = 0
        self._num_rejections = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._worker = threading.Thread(target=self._evict_forever, name="djinn-evictions", daemon=True)
        self._worker.start()

    def open(self, session_id: str, arena_bytes: int | None) -> Arena:
        """Reserve an arena and admit the session, waiting for memory if the policy can free some.

        Raises:
            ValueError: the session exists already, or the size is not positive.
            OutOfMemoryError: the arena fits neither the segment nor, in time, the budget.
        """
        arena = self._vmu.reserve_session_arena(session_id, arena_bytes)
        with self._changed:
            try:
                self._take_budget(session_id, arena.arena_bytes)
            except OutOfMemoryError:
                self._vmu.release_session_arena(session_id)
                raise
            self._sessions[session_id] = _Session(arena, State.IDLE, self._clock())
            self._changed.notify_all()
        return arena

    def close(self, session_id: str) -> None:
        """End a session: its arena, its budget and what the host pool holds of it are free again.

        Raises:
            SessionClosedError: it is closed already.
        """
        with self._changed:
            session = self._settled(session_id)
            was_resident = session.state is not State.EVICTED
            self._step(session, Event.CLOSE)
            del self._sessions[session_id]
            self._pool.forget(session_id)
            self._vmu.release_session_arena(session_id)
            if was_resident:
                self._resident_bytes -= session.arena.arena_bytes
            self._changed.notify_all()

    @contextmanager
    def running(self, session_ids: list[str]) -> Iterator[None]:
        """Keep these sessions resident and unevictable for the duration of a request, restoring them first.

        Sessions are taken in order of name, so that two requests cannot wait for each other.

        Raises:
            SessionClosedError: one of them is closed.
            OutOfMemoryError: one of them cannot be restored in time.
        """
        entered: list[str] = []
        try:
            for session_id in sorted(set(session_ids)):
                self._enter(session_id)
                entered.append(session_id)
            yield
        finally:
            if entered:
                self._leave(entered)

    def signal(self, session_id: str, phase: str, estimated_resume_ms: float | None = None) -> None:
        """Take a phase signal; COMPUTE returns when the session is resident again.

        Raises:
            ValueError: an unknown phase, or an estimate that is not a finite, non-negative number.
            SessionClosedError: the session is closed.
            OutOfMemoryError: the session cannot be restored in time.
        """
        if phase not in PHASES:
            raise ValueError(f"Phase {phase!r} is unknown; signal one of {', '.join(PHASES)}.")
        if estimated_resume_ms is not None and not 0 <= estimated_resume_ms < float("inf"):
            raise ValueError(
                f"estimated_resume_ms is {estimated_resume_ms}, but must be a finite number of at least 0."
            )
        with self._changed:
            session = self._session(session_id)
            self._num_signals += 1
            if not self._policy.honours_signals:
                return
            session = self._settled(session_id)
            if phase == "IO_WAIT":
                self._step(session, Event.SIGNAL_IO_WAIT)
                if estimated_resume_ms is not None:
                    session.estimated_resume_s = self._clock() + estimated_resume_ms / 1e3
                self._changed.notify_all()
                return
            self._step(session, Event.SIGNAL_COMPUTE)
            session.estimated_resume_s = None
        with self.running([session_id]):
            pass

    def checksum(self, session_id: str) -> str:
        """Return the digest of a session's arena without moving it.

        Raises:
            SessionClosedError: the session is closed.
        """
        with self._changed:
            return self._pool.checksum(self._settled(session_id).arena)

    def stats(self) -> dict[str, Any]:
        """Return counters of signals, evictions and restores, and the bytes that sessions hold where."""
        with self._changed:
            return {
                "signals": self._num_signals,
                "evictions": self._pool.outward.num_transfers,
                "restores": self._pool.inward.num_transfers,
                "swapped_out_bytes": self._pool.outward.moved_bytes,
                "swapped_in_bytes": self._pool.inward.moved_bytes,
                "swap_out_us": self._pool.outward.busy_us,
                "swap_in_us": self._pool.inward.busy_us,
                "resident_bytes": self._resident_bytes,
                "budget_bytes": self._budget_bytes,
                "host_pool_used_bytes": self._pool.used_bytes,
                "num_sessions": len(self._sessions),
                "rejections": self._num_rejections,
            }

    def stop(self) -> None:
        """End the worker thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._worker.join()

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise SessionClosedError(
                f"Session {session_id!r} is not open; open it with djinn.session() and use it inside."
            )
        return session

    def _settled(self, session_id: str) -> _Session:
        """Wait until nobody computes with or moves the session."""
        while True:
            session = self._session(session_id)
            if session.state in (State.IDLE, State.IO_WAIT, State.EVICTED):
                return session
            self._changed.wait()

    def _enter(self, session_id: str) -> None:
        while True:
            with self._changed:
                session = self._settled(session_id)
                if session.state is not State.EVICTED:
                    self._step(session, Event.REQUEST)
                    return
                self._take_budget(session_id, session.arena.arena_bytes)
                if self._sessions.get(session_id) is not session or session.state is not State.EVICTED:
                    # Somebody else restored or closed it while this request waited for memory.
                    self._resident_bytes -= session.arena.arena_bytes
                    self._changed.notify_all()
                    continue
                self._step(session, Event.SWAP_IN)
            self._pool.restore(session.arena)
            with self._changed:
                self._step(session, Event.SWAPPED_IN)
                session.idle_since_s = self._clock()
                self._step(session, Event.REQUEST)
                self._changed.notify_all()
                return

    def _leave(self, session_ids: list[str]) -> None:
        with self._changed:
            for session_id in session_ids:
                session = self._sessions[session_id]
                self._step(session, Event.FINISH)
                session.idle_since_s = self._clock()
            self._changed.notify_all()

    def _step(self, session: _Session, event: Event) -> None:
        session.state = next_state(session.arena.session_id, session.state, event)

    def _take_budget(self, session_id: str, num_bytes: int) -> None:
        """Wait in line until `num_bytes` of the budget are free and take them."""
        ticket = object()
        self._waiters.append(ticket)
        deadline_s = self._clock() + self._admission_timeout_s
        try:
            while self._waiters[0] is not ticket or self._resident_bytes + num_bytes > self._budget_bytes:
                remaining_s = deadline_s - self._clock()
                if num_bytes > self._budget_bytes or not self._policy.can_evict or remaining_s <= 0:
                    self._num_rejections += 1
                    raise OutOfMemoryError(
                        f"Session {session_id!r} needs {num_bytes} resident bytes, but {self._resident_bytes} of the budget of "
                        f"{self._budget_bytes} are taken; close sessions, signal IO_WAIT or raise GENIE_DATA_BUDGET_MB."
                    )
                # Waking others here would have them wake this one, without end; what frees memory notifies.
                self._changed.wait(remaining_s)
            self._resident_bytes += num_bytes
        finally:
            self._waiters.remove(ticket)
            self._changed.notify_all()

    def _evict_forever(self) -> None:
        while True:
            with self._changed:
                victim = self._next_victim()
                while victim is None:
                    if self._stopping:
                        return
                    self._changed.wait(self._time_to_next_deadline_s())
                    victim = self._next_victim()
                self._step(victim, Event.SWAP_OUT)
            self._pool.write_back(victim.arena)
            with self._changed:
                self._step(victim, Event.SWAPPED_OUT)
                self._resident_bytes -= victim.arena.arena_bytes
                self._changed.notify_all()

    def _time_to_next_deadline_s(self) -> float | None:
        deadline_s = self._policy.next_deadline_s([session.view() for session in self._sessions.values()])
        if deadline_s is None:
            return None
        remaining_s = deadline_s - self._clock()
        # Overdue and still no victim: the host pool is full, so only an event can help.
        return remaining_s if remaining_s > 0 else None

    def _next_victim(self) -> _Session | None:
        views = [session.view() for session in self._sessions.values()]
        for session_id in self._policy.select_evictions(self._clock(), views):
            session = self._sessions[session_id]
            if self._pool.has_room(session.arena.high_water_bytes):
                return session
        return None
