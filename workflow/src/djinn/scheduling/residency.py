"""Who is in device memory: admission, budget, host pool and a policy's decisions, without a clock or a copy.

A driver says what happens and when, and carries out the copies that the residency asks for. The live scheduler is one
driver, with threads and real bytes; the study's simulation is another, in virtual time. Both drive this very object.

Memory is handed out in order of arrival, to new sessions and returning ones alike, so that no session starves.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from djinn.scheduling.host_copies import HostCopies
from djinn.scheduling.policies import Action, Policy
from djinn.scheduling.sessions import UNKNOWN_RESUME_S, Session
from djinn.scheduling.states import Event, State

_READY = frozenset({State.IDLE, State.IO_WAIT, State.CLEAN})


class Driver(Protocol):
    """What a residency asks of its driver, from inside its own methods."""

    def copy_out(self, session: Session) -> None:
        """Begin to copy a session to the host, whole unless the host has a copy; report with `copied_out`."""

    def copy_in(self, session: Session) -> None:
        """Begin to copy a session to the device; report with `copied_in`."""

    def granted(self, session: Session, now_s: float) -> None:
        """A request that had to wait computes from now on."""

    def rejected(self, session: Session, now_s: float) -> None:
        """A request that waits will never get memory; its session is as it was."""

    def released(self, session: Session) -> None:
        """A session left device memory, which is free for others."""

    def forgot_copy(self, session: Session) -> None:
        """The host's copy of a session is of no use any more."""


class Residency:
    """The sessions of one device; used by one thread at a time, with a clock that never goes back.

    Attributes:
        resident_bytes: device memory that sessions take, those that are being moved included.
        num_evictions: sessions that left memory.
        num_reclaims: those among them that needed no copy for it.
        num_restores: sessions that were brought back because a request waited.
        num_prefetches: sessions that were brought back before.
        num_rejections: requests that will never get memory.
        num_sessions: that are open.
    """

    def __init__(self, policy: Policy, driver: Driver, *, budget_bytes: int, pool_bytes: int) -> None:
        self._policy = policy
        self._driver = driver
        self._budget_bytes = budget_bytes
        self._copies = HostCopies(pool_bytes, driver.forgot_copy)
        self._waiting: deque[Session] = deque()
        self._leaving_bytes = 0
        # Sessions whose copy found no room in the pool, by what was to become of them.
        self._postponed: dict[Session, Action] = {}
        self.resident_bytes = 0
        self.num_evictions = self.num_reclaims = self.num_restores = self.num_prefetches = 0
        self.num_rejections = self.num_sessions = 0

    @property
    def next_tick_s(self) -> float:
        """When `tick` has something to do, infinity if never without an event before."""
        return self._policy.next_tick_s

    @property
    def pool_used_bytes(self) -> int:
        """Host memory that copies take."""
        return self._copies.used_bytes

    @property
    def is_pool_full(self) -> bool:
        """Whether somebody would leave, but for whom the host pool has no room."""
        return bool(self._postponed)

    @property
    def num_waiting(self) -> int:
        """Sessions that stand in line for memory."""
        return len(self._waiting)

    def open(self, session_id: str, num_bytes: int, user: Any = None) -> Session:
        """Make a session that has no memory yet: its first request waits for its admission."""
        self.num_sessions += 1
        return Session(session_id, num_bytes, user)

    def request(self, session: Session, now_s: float) -> bool:
        """Let a session compute: at once (True), or when `granted` says so, which may be before this returns.

        A session that is being moved is waited for, one that is not in memory stands in line. At most one request of a
        session may wait.
        """
        if session.state in _READY:
            self._start(session)
            return True
        session.waits_for_memory = True
        if session.state in (State.NEW, State.EVICTED):
            self._waiting.append(session)
            self._serve(now_s)
        return False

    def finish(self, session: Session, now_s: float) -> None:
        """A session's computation ended."""
        session.step(Event.FINISH)
        session.idle_since_s = now_s
        self._policy.became_idle(session, now_s)
        if self._waiting:
            self._serve(now_s)

    def wait(self, session: Session, resume_s: float | None, now_s: float) -> None:
        """A session's client announced a wait, and perhaps when it expects to continue."""
        session.step(Event.SIGNAL_IO_WAIT)
        session.resume_s = UNKNOWN_RESUME_S if resume_s is None else resume_s
        if session.state is State.IO_WAIT:
            decision = self._policy.waits(session, now_s)
            if decision is not None:
                self._carry_out(*decision, now_s)
                self._serve(now_s)

    def withdraw(self, session: Session, now_s: float) -> None:
        """A request that waits for memory gives up."""
        session.waits_for_memory = False
        if session in self._waiting:
            self._waiting.remove(session)
            self._serve(now_s)

    def close(self, session: Session, now_s: float) -> None:
        """End a session that nobody computes with or moves.

        Raises:
            SessionStateError: somebody does.
        """
        was_resident = session.state in _READY
        session.step(Event.CLOSE)
        self._policy.became_busy(session)
        self._postponed.pop(session, None)
        self.num_sessions -= 1
        if was_resident:
            self.resident_bytes -= session.num_bytes
        self._copies.forget(session)
        self._retry_postponed(now_s)
        self._serve(now_s)

    def copied_out(self, session: Session, now_s: float) -> None:
        """The copy that `copy_out` asked for is complete."""
        if session.state is State.COPYING:
            session.step(Event.COPIED_OUT)
            if session.waits_for_memory:
                self._grant(session, now_s)
                return
            self._policy.became_clean(session, now_s)
        else:
            session.step(Event.SWAPPED_OUT)
            self._leaving_bytes -= session.num_bytes
            self._leave(session, now_s)
            if session.waits_for_memory:
                self._waiting.append(session)
        self._serve(now_s)

    def copied_in(self, session: Session, now_s: float) -> None:
        """The copy that `copy_in` asked for is complete."""
        self._policy.restored(now_s - session.copy_began_s)
        was_prefetched = session.state is State.PREFETCHING
        session.step(Event.PREFETCHED if was_prefetched else Event.SWAPPED_IN)
        if not self._policy.keeps_copies:
            self._copies.forget(session)
            self._retry_postponed(now_s)
        if session.waits_for_memory:
            self._grant(session, now_s)
        elif was_prefetched:
            self._policy.became_clean(session, now_s)
        else:  # the request gave up meanwhile
            session.idle_since_s = now_s
            self._policy.became_idle(session, now_s)
        self._serve(now_s)

    def tick(self, now_s: float) -> None:
        """Carry out what is due."""
        while self._policy.next_tick_s <= now_s:
            decision = self._policy.tick(now_s)
            if decision is None:
                return
            self._carry_out(*decision, now_s)
        self._serve(now_s)

    def check_integrity(self, sessions: list[Session]) -> None:
        """Assert that all memory is accounted for, given every session that is open."""
        absent = (State.NEW, State.EVICTED, State.CLOSED)
        resident_bytes = sum(session.num_bytes for session in sessions if session.state not in absent)
        assert resident_bytes == self.resident_bytes, f"{self.resident_bytes} bytes counted, {resident_bytes} resident"
        assert self.resident_bytes <= self._budget_bytes, f"{self.resident_bytes} bytes exceed the budget"
        self._copies.check_integrity(sessions)

    def _start(self, session: Session) -> None:
        session.step(Event.REQUEST)
        self._policy.became_busy(session)
        self._copies.spare(session)
        if self._postponed:
            self._postponed.pop(session, None)

    def _grant(self, session: Session, now_s: float) -> None:
        session.waits_for_memory = False
        self._start(session)
        self._driver.granted(session, now_s)

    def _carry_out(self, action: Action, session: Session, now_s: float) -> bool:
        """Do what the policy decided, and tell whether it could be done."""
        if action is Action.PREFETCH:
            return self._prefetch(session, now_s)
        if session.state is State.CLEAN:
            session.step(Event.RECLAIM)
            self.num_reclaims += 1
            self._leave(session, now_s)
            return True
        if not self._copies.make_room(session):
            self._postponed[session] = action
            return False
        session.copy_began_s = now_s
        if action is Action.EVICT:
            session.step(Event.SWAP_OUT)
            self._leaving_bytes += session.num_bytes
        else:
            session.step(Event.COPY_OUT)
        self._driver.copy_out(session)
        session.has_copy = True
        return True

    def _prefetch(self, session: Session, now_s: float) -> bool:
        if session.state is not State.EVICTED or self._waiting:
            return False
        while self.resident_bytes + session.num_bytes > self._budget_bytes:
            decision = self._policy.make_room_for(session, now_s)
            if decision is None or not self._carry_out(*decision, now_s):
                return False
        self.resident_bytes += session.num_bytes
        self.num_prefetches += 1
        session.step(Event.PREFETCH)
        session.copy_began_s = now_s
        self._policy.comes_back()
        self._driver.copy_in(session)
        return True

    def _leave(self, session: Session, now_s: float) -> None:
        self.resident_bytes -= session.num_bytes
        self.num_evictions += 1
        self._driver.released(session)
        self._policy.left(session, now_s)

    def _retry_postponed(self, now_s: float) -> None:
        """Copy those out for whom the pool had no room."""
        while self._postponed:
            session, action = next(iter(self._postponed.items()))
            del self._postponed[session]
            if not self._carry_out(action, session, now_s):
                return

    def _serve(self, now_s: float) -> None:
        """Hand memory to those who wait for it, in order, as far as it reaches."""
        while self._waiting:
            session = self._waiting[0]
            if session.num_bytes > self._budget_bytes:
                self._reject(session, now_s)
            elif self.resident_bytes + session.num_bytes <= self._budget_bytes:
                self._waiting.popleft()
                self._bring_in(session, now_s)
            elif not self._make_room(session, now_s):
                if self._policy.can_evict:
                    return
                self._reject(session, now_s)

    def _make_room(self, session: Session, now_s: float) -> bool:
        """Have somebody leave for a session; false if nobody can, or those who leave already make room enough."""
        if self.resident_bytes - self._leaving_bytes + session.num_bytes <= self._budget_bytes:
            return False
        decision = self._policy.make_room(now_s)
        return decision is not None and self._carry_out(*decision, now_s)

    def _bring_in(self, session: Session, now_s: float) -> None:
        self.resident_bytes += session.num_bytes
        if session.state is State.NEW:
            session.step(Event.ADMIT)
            self._grant(session, now_s)
            return
        session.step(Event.SWAP_IN)
        self.num_restores += 1
        session.copy_began_s = now_s
        self._policy.comes_back()
        self._driver.copy_in(session)

    def _reject(self, session: Session, now_s: float) -> None:
        self._waiting.popleft()
        session.waits_for_memory = False
        self.num_rejections += 1
        self._driver.rejected(session, now_s)
