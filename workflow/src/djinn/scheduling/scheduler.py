"""The live scheduler: drives a residency with threads, real time and real bytes.

A request's own thread waits for its session. One thread a link carries out the copies, one watches the time; none of
them is woken by a request that needs no memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from djinn.errors import OutOfMemoryError, SessionClosedError, WithdrawnError
from djinn.memory.arena import Arena
from djinn.memory.vmu import VirtualMemoryUnit
from djinn.scheduling.clock_thread import ClockThread
from djinn.scheduling.entries import Entry
from djinn.scheduling.link_thread import LinkThread
from djinn.scheduling.policies import Policy
from djinn.scheduling.residency import Residency
from djinn.scheduling.running import Running
from djinn.scheduling.sessions import Session
from djinn.scheduling.states import RESIDENT_STATES, SETTLED_STATES, State
from djinn.scheduling.swap_pool import SwapPool

PHASES = ("IO_WAIT", "COMPUTE")
_NOT_IDLE = "The session of a provisional call is not idle in memory; send the call again, as a final one."


class Scheduler:
    """Owns the residency of sessions."""

    def __init__(
        self,
        vmu: VirtualMemoryUnit,
        pool: SwapPool,
        policy: Policy,
        *,
        budget_bytes: int,
        pool_bytes: int,
        admission_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vmu = vmu
        self._pool = pool
        self._policy = policy
        self._budget_bytes = budget_bytes
        self._admission_timeout_s = admission_timeout_s
        self._clock = clock
        self._residency = Residency(policy, self, budget_bytes=budget_bytes, pool_bytes=pool_bytes)
        self._entries: dict[str, Entry] = {}
        self._num_signals = 0
        self._nothing_running = Running(self._leave)
        self._num_timeouts = 0
        # Guards the residency; whoever waits for a session to be moved waits for `_moved`.
        self._lock = threading.RLock()
        self._moved = threading.Condition(self._lock)
        self._outward = LinkThread("djinn-outward", self._copy_out, self._report_copied_out)
        self._inward = LinkThread("djinn-inward", self._copy_in, self._report_copied_in)
        self._clock_thread = ClockThread(self._residency, self._lock, clock)

    def open(self, session_id: str, arena_bytes: int | None) -> Arena:
        """Reserve an arena and admit the session, waiting for memory if the policy can free some.

        Raises:
            ValueError: the session exists already, or the size is not positive.
            OutOfMemoryError: the arena fits neither the segment nor, in time, the budget.
        """
        arena = self._vmu.reserve_session_arena(session_id, arena_bytes)
        with self._lock:
            session = self._residency.open(session_id, arena.arena_bytes)
            entry = session.user = self._entries[session_id] = Entry(arena, session)
        try:
            self._enter(entry)
        except OutOfMemoryError:
            self.close(session_id)
            raise
        self._leave(entry)
        return arena

    def close(self, session_id: str) -> None:
        """End a session: its arena, its budget and what the host pool holds of it are free again.

        Raises:
            SessionClosedError: it is closed already.
        """
        entry = self._entry(session_id)
        with entry.turn, self._lock:
            self._await_settled(entry)
            del self._entries[session_id]
            self._residency.close(entry.session, self._clock())
            self._vmu.release_session_arena(session_id)

    def running(self, session_ids: Sequence[str] = (), *, may_wait: bool = True) -> Running:
        """Restore these sessions and keep them resident and unevictable until the caller leaves what this returns.

        Sessions are taken in order of name, so that two requests cannot wait for each other.

        Raises:
            SessionClosedError: one of them is closed.
            WithdrawnError: one of them is not idle in memory, for which the caller may not wait, or end its own wait.
            OutOfMemoryError: one of them cannot be restored in time.
        """
        if not session_ids:
            return self._nothing_running
        running = Running(self._leave)
        try:
            for session_id in session_ids if len(session_ids) == 1 else sorted(set(session_ids)):
                entry = self._entry(session_id)
                self._enter(entry, may_wait=may_wait)
                running.add(entry)
        except BaseException:
            running.leave()
            raise
        return running

    def signal(self, session_id: str, phase: str, estimated_resume_ms: float | None = None) -> float:
        """Take a phase signal; COMPUTE returns when the session is resident again.

        Returns:
            How long restoring it took, in microseconds.

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
        entry = self._entry(session_id)
        with self._lock:
            self._num_signals += 1
        if not self._policy.uses_signals:
            return 0.0
        if phase == "COMPUTE":
            with self.running([session_id]) as restore_us:
                return restore_us
        with entry.turn, self._lock:
            self._check_open(entry)
            while entry.session.state is State.SWAPPING_IN:  # for a request that gave up
                self._moved.wait()
            entry.note_used_bytes()
            now_s = self._clock()
            resume_s = None if estimated_resume_ms is None else now_s + estimated_resume_ms / 1e3
            self._residency.wait(entry.session, resume_s, now_s)
            self._clock_thread.look()
        return 0.0

    def checksum(self, session_id: str) -> str:
        """Return the digest of a session's arena without moving it.

        Raises:
            SessionClosedError: the session is closed.
        """
        entry = self._entry(session_id)
        with entry.turn, self._lock:
            self._await_settled(entry)
            return self._pool.checksum(entry.arena, is_resident=entry.session.state in RESIDENT_STATES)

    def stats(self) -> dict[str, Any]:
        """Return counters of signals and moves, and the bytes that sessions hold where."""
        with self._lock:
            residency = self._residency
            return {
                "signals": self._num_signals,
                "evictions": residency.num_evictions,
                "reclaims": residency.num_reclaims,
                "restores": residency.num_restores,
                "prefetches": residency.num_prefetches,
                "swap_outs": self._pool.outward.num_transfers,
                "swap_ins": self._pool.inward.num_transfers,
                "swapped_out_bytes": self._pool.outward.moved_bytes,
                "swapped_in_bytes": self._pool.inward.moved_bytes,
                "swap_out_us": self._pool.outward.busy_us,
                "swap_in_us": self._pool.inward.busy_us,
                "resident_bytes": residency.resident_bytes,
                "budget_bytes": self._budget_bytes,
                "host_pool_used_bytes": residency.pool_used_bytes,
                "num_sessions": residency.num_sessions,
                "num_waiting": residency.num_waiting,
                "rejections": residency.num_rejections + self._num_timeouts,
            }

    def check_integrity(self) -> None:
        """Assert that all memory and all copies are accounted for."""
        with self._lock:
            self._residency.check_integrity([entry.session for entry in self._entries.values()])

    def stop(self) -> None:
        """End the threads."""
        self._clock_thread.stop()
        self._outward.stop()
        self._inward.stop()

    # What the residency asks of its driver; called with the lock held.

    def copy_out(self, session: Session) -> None:
        """Queue a copy to the host."""
        self._outward.put(session.user)

    def copy_in(self, session: Session) -> None:
        """Queue a copy to the device."""
        self._inward.put(session.user)

    def granted(self, session: Session, now_s: float) -> None:
        """Let the request that waits go on."""
        session.user.answer(is_rejected=False)

    def rejected(self, session: Session, now_s: float) -> None:
        """Let the request that waits fail."""
        session.user.answer(is_rejected=True)

    def released(self, session: Session) -> None:
        """Return a session's pages to the system."""
        self._vmu.data.region.discard(session.user.arena.offset_bytes, session.num_bytes)

    def forgot_copy(self, session: Session) -> None:
        """Drop the host's copy."""
        self._pool.forget(session.session_id)

    def _entry(self, session_id: str) -> Entry:
        entry = self._entries.get(session_id)
        if entry is None:
            raise SessionClosedError(
                f"Session {session_id!r} is not open; open it with djinn.session() and use it inside."
            )
        return entry

    def _check_open(self, entry: Entry) -> None:
        self._entry(entry.session.session_id)

    def _await_settled(self, entry: Entry) -> None:
        """Wait until nobody moves the session, whose turn the caller has."""
        self._check_open(entry)
        while entry.session.state not in SETTLED_STATES:
            self._moved.wait()

    def _enter(self, entry: Entry, *, may_wait: bool = True) -> None:
        """Take a session's turn and wait until it may compute, or be refused at once."""
        if not entry.turn.acquire(blocking=may_wait):
            raise WithdrawnError(_NOT_IDLE)
        try:
            with self._lock:
                self._check_open(entry)
                if not may_wait and entry.session.state is not State.IDLE:
                    raise WithdrawnError(_NOT_IDLE)
                entry.expect_answer()
                is_granted = self._residency.request(entry.session, self._clock())
                self._clock_thread.look()
            if is_granted:
                return
            self._await_answer(entry)
        except BaseException:
            entry.turn.release()
            raise

    def _await_answer(self, entry: Entry) -> None:
        if not entry.answered.wait(self._admission_timeout_s):
            with self._lock:
                if not entry.answered.is_set():
                    self._residency.withdraw(entry.session, self._clock())
                    self._num_timeouts += 1
                    entry.is_rejected = True
        if entry.is_rejected:
            raise OutOfMemoryError(self._refusal(entry.session))

    def _refusal(self, session: Session) -> str:
        needed = f"Session {session.session_id!r} needs {session.num_bytes} resident bytes"
        if session.num_bytes > self._budget_bytes:
            return f"{needed}, but the budget is {self._budget_bytes}; ask for less or raise GENIE_DATA_BUDGET_MB."
        taken = f"{needed}, but {self._residency.resident_bytes} of the budget of {self._budget_bytes} are taken"
        if self._residency.is_pool_full:
            return f"{taken}, and no host memory is left for any other; close sessions or raise GENIE_HOST_POOL_MB."
        return f"{taken}; close sessions, signal IO_WAIT or raise GENIE_DATA_BUDGET_MB."

    def _leave(self, entry: Entry) -> None:
        with self._lock:
            entry.note_used_bytes()
            self._residency.finish(entry.session, self._clock())
            self._clock_thread.look()
        entry.turn.release()

    def _copy_out(self, entry: Entry) -> None:
        self._pool.copy_out(entry.arena)

    def _copy_in(self, entry: Entry) -> None:
        self._pool.copy_in(entry.arena)

    def _report_copied_out(self, entry: Entry) -> None:
        self._report(self._residency.copied_out, entry)

    def _report_copied_in(self, entry: Entry) -> None:
        if entry.session.waits_for_memory:
            entry.restore_us = 1e6 * (self._clock() - entry.session.copy_began_s)
        self._report(self._residency.copied_in, entry)

    def _report(self, report: Callable[[Session, float], None], entry: Entry) -> None:
        with self._lock:
            report(entry.session, self._clock())
            self._clock_thread.look()
            self._moved.notify_all()
