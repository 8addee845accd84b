"""Who leaves device memory, and when: pure objects, events with a time in, decisions out.

A policy touches nothing but its own notes, so that a live server and a simulation in virtual time can drive the same
object. It is told what happens to each session and answers with a decision, or None; `decide` is asked again until it
answers None.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

from djinn.config import SchedulingMode
from djinn.scheduling.lazy_heap import LazyHeap
from djinn.scheduling.sessions import UNKNOWN_RESUME_S, Session
from djinn.scheduling.states import State

_NEVER_S = float("inf")
# How much of the mean restore time a new observation replaces.
_SMOOTHING = 0.2
# A prefetch begins this many restore times before the estimated resume: one for the restore, one for a swap that it may
# have to wait for, one as margin.
_LEAD_RESTORES = 3.0


class Action(Enum):
    """What is done with the session that a policy names."""

    EVICT = "evict"
    WRITE_BACK = "write_back"
    PREFETCH = "prefetch"


Decision = tuple[Action, Session]


class Policy:
    """Mode `none`, and the defaults of the others: what does not fit is out of memory.

    Attributes:
        uses_signals: whether clients announce their phases.
        can_evict: whether waiting for memory can ever help while no session ends.
        keeps_copies: whether the host's copy of a session is kept after its restore, so that writing back moves only what changed.
        next_tick_s: when `tick` has something to say without any event before.
    """

    uses_signals = False
    can_evict = False
    keeps_copies = False

    def __init__(self) -> None:
        self.next_tick_s = _NEVER_S

    def became_idle(self, session: Session, now_s: float) -> None:
        """A computation of the session ended."""

    def became_busy(self, session: Session) -> None:
        """The session computes, or was closed."""

    def waits(self, session: Session, now_s: float) -> Decision | None:
        """Its client announced a wait; decide what becomes of it."""
        return None

    def became_clean(self, session: Session, now_s: float) -> None:
        """It waits in memory, and the host holds a current copy."""

    def left(self, session: Session, now_s: float) -> None:
        """It is in memory no more."""

    def comes_back(self) -> None:
        """A session is being brought back, for a request or ahead of one."""

    def restored(self, duration_s: float) -> None:
        """Bringing a session back took so long."""

    def tick(self, now_s: float) -> Decision | None:
        """Decide what is due."""
        return None

    def make_room(self, now_s: float) -> Decision | None:
        """Somebody waits for memory; decide who leaves."""
        return None

    def make_room_for(self, session: Session, now_s: float) -> Decision | None:
        """A prefetch lacks memory; decide who leaves for it, if it is worth that."""
        return None


class EvictIdle(Policy):
    """Mode `reactive`: a session that was idle for the timeout is evicted."""

    can_evict = True

    def __init__(self, idle_timeout_s: float) -> None:
        super().__init__()
        self.idle_timeout_s = idle_timeout_s
        # Sessions become idle in order of time, so they are due in this order too.
        self._idle: deque[tuple[float, Session]] = deque()

    def became_idle(self, session: Session, now_s: float) -> None:
        """Note when it will be due."""
        self._idle.append((now_s, session))
        if self.next_tick_s == _NEVER_S:
            self.next_tick_s = now_s + self.idle_timeout_s

    def tick(self, now_s: float) -> Decision | None:
        """Evict who has been idle for the timeout, longest idle first."""
        while self._idle:
            since_s, session = self._idle[0]
            is_still_idle = session.state is State.IDLE and session.idle_since_s == since_s
            if is_still_idle and since_s + self.idle_timeout_s > now_s:
                break
            self._idle.popleft()
            if is_still_idle:
                self._set_next_tick()
                return Action.EVICT, session
        self._set_next_tick()
        return None

    def _set_next_tick(self) -> None:
        self.next_tick_s = self._idle[0][0] + self.idle_timeout_s if self._idle else _NEVER_S


class EvictLongestIdle(Policy):
    """Mode `lru`: when somebody needs memory, the session that has been idle for longest is evicted."""

    can_evict = True

    def __init__(self) -> None:
        super().__init__()
        self._idle: dict[Session, None] = {}

    def became_idle(self, session: Session, now_s: float) -> None:
        """Put it behind everyone who was idle before."""
        self._idle[session] = None

    def became_busy(self, session: Session) -> None:
        """It is no candidate any more."""
        self._idle.pop(session, None)

    def left(self, session: Session, now_s: float) -> None:
        """It is no candidate any more."""
        self._idle.pop(session, None)

    def make_room(self, now_s: float) -> Decision | None:
        """Evict the longest idle."""
        for session in self._idle:
            if session.state is State.IDLE:
                return Action.EVICT, session
        return None


class EvictOnSignal(Policy):
    """Mode `proactive`: a session is evicted when it announces a wait; announcing COMPUTE restores it."""

    uses_signals = True
    can_evict = True

    def waits(self, session: Session, now_s: float) -> Decision | None:
        """Evict it at once."""
        return Action.EVICT, session


class WriteBackAndPrefetch(Policy):
    """Mode `proactive_plus`: copy a waiting session to the host at once, but keep it until its memory is needed.

    Memory is taken from the session that is expected back last (Belady's rule on estimates), without a copy, since the
    host's is current. A session that left is brought back shortly before it is expected.
    """

    uses_signals = True
    can_evict = True
    keeps_copies = True

    def __init__(self) -> None:
        super().__init__()
        self._restore_s = 0.0
        self._num_arriving = 0
        self._clean: LazyHeap[Session] = LazyHeap(_is_clean)
        self._absent: LazyHeap[Session] = LazyHeap(_is_absent)

    def waits(self, session: Session, now_s: float) -> Decision | None:
        """Copy it out."""
        return Action.WRITE_BACK, session

    def became_clean(self, session: Session, now_s: float) -> None:
        """It can make room from now on, the later it is expected the sooner."""
        self._clean.push(-session.resume_s, session)

    def left(self, session: Session, now_s: float) -> None:
        """Note when to bring it back; one that is overdue already comes when it asks."""
        if now_s < session.resume_s - self._lead_s < UNKNOWN_RESUME_S:
            self._absent.push(session.resume_s, session)
            self._set_next_tick()

    def comes_back(self) -> None:
        """Let it: a prefetch on the link before it would delay a request that waits already."""
        self._num_arriving += 1
        self._set_next_tick()

    def restored(self, duration_s: float) -> None:
        """Learn how long before its resume a restore has to begin, and go on with what is due."""
        self._num_arriving -= 1
        self._set_next_tick()
        self._restore_s += (duration_s - self._restore_s) * (_SMOOTHING if self._restore_s else 1.0)

    def tick(self, now_s: float) -> Decision | None:
        """Bring back who is expected soon."""
        due = None if self._num_arriving else self._absent.peek()
        if due is not None and due[0] - self._lead_s <= now_s:
            self._absent.pop()
            self._set_next_tick()
            return Action.PREFETCH, due[1]
        self._set_next_tick()
        return None

    def make_room(self, now_s: float) -> Decision | None:
        """Take the memory of who is expected last."""
        found = self._clean.peek()
        return None if found is None else (Action.EVICT, found[1])

    def make_room_for(self, session: Session, now_s: float) -> Decision | None:
        """Take the memory of who is expected last, if that is after the session that comes back."""
        found = self._clean.peek()
        if found is None or found[1].resume_s <= session.resume_s:
            return None
        return Action.EVICT, found[1]

    @property
    def _lead_s(self) -> float:
        return _LEAD_RESTORES * self._restore_s

    def _set_next_tick(self) -> None:
        first = None if self._num_arriving else self._absent.peek()
        self.next_tick_s = _NEVER_S if first is None else first[0] - self._lead_s


def _is_clean(key: float, session: Session) -> bool:
    return session.state is State.CLEAN and session.resume_s == -key


def _is_absent(key: float, session: Session) -> bool:
    return session.state is State.EVICTED and session.resume_s == key


def make_policy(mode: SchedulingMode, *, idle_timeout_s: float) -> Policy:
    """Return the policy of a scheduling mode.

    Args:
        mode: which one.
        idle_timeout_s: how long mode `reactive` waits; the others have no use for it.

    Raises:
        ValueError: an unknown mode, or a timeout that is not a positive number.
    """
    if not 0 < idle_timeout_s < _NEVER_S:
        raise ValueError(f"idle_timeout_s is {idle_timeout_s}, but must be a positive number; 1.0 is the paper's.")
    makers: dict[str, Callable[[], Policy]] = {
        "none": Policy,
        "reactive": lambda: EvictIdle(idle_timeout_s),
        "lru": EvictLongestIdle,
        "proactive": EvictOnSignal,
        "proactive_plus": WriteBackAndPrefetch,
    }
    if mode not in makers:
        raise ValueError(f"Scheduling mode {mode!r} is unknown; choose one of {', '.join(makers)}.")
    return makers[mode]()
