"""The life of a session as a table: (state, event) -> state. This file holds nothing else.

NEW → IDLE ⇄ RUNNING                                admitted; a request starts and ends
IDLE → IO_WAIT                                      the client announced a wait; any request ends it
IDLE, IO_WAIT → SWAPPING_OUT → EVICTED              copied to the host, memory free
IO_WAIT → COPYING → CLEAN → EVICTED                 copied to the host, memory kept for now, and taken without a copy
EVICTED → SWAPPING_IN → IDLE                        restored because a request waits
EVICTED → PREFETCHING → CLEAN                       restored because a request is expected
"""

from __future__ import annotations

from enum import Enum

from djinn.errors import SessionStateError


class State(Enum):
    """Where a session stands."""

    NEW = "new"
    IDLE = "idle"
    RUNNING = "running"
    IO_WAIT = "io_wait"
    COPYING = "copying"
    CLEAN = "clean"
    SWAPPING_OUT = "swapping_out"
    EVICTED = "evicted"
    SWAPPING_IN = "swapping_in"
    PREFETCHING = "prefetching"
    CLOSED = "closed"

    # Members are singletons; Enum's own hash is a Python function, which a simulation would call millions of times.
    __hash__ = object.__hash__


class Event(Enum):
    """What happens to a session."""

    ADMIT = "admit"
    REQUEST = "request"
    FINISH = "finish"
    SIGNAL_IO_WAIT = "signal_io_wait"
    SWAP_OUT = "swap_out"
    SWAPPED_OUT = "swapped_out"
    COPY_OUT = "copy_out"
    COPIED_OUT = "copied_out"
    RECLAIM = "reclaim"
    SWAP_IN = "swap_in"
    SWAPPED_IN = "swapped_in"
    PREFETCH = "prefetch"
    PREFETCHED = "prefetched"
    CLOSE = "close"

    __hash__ = object.__hash__


RESIDENT_STATES = frozenset(State) - {State.NEW, State.EVICTED, State.CLOSED}
# Nobody computes with the session or moves it.
SETTLED_STATES = frozenset({State.NEW, State.IDLE, State.IO_WAIT, State.CLEAN, State.EVICTED})

_TABLE: dict[tuple[State, Event], State] = {
    (State.NEW, Event.ADMIT): State.IDLE,
    (State.IDLE, Event.REQUEST): State.RUNNING,
    (State.IO_WAIT, Event.REQUEST): State.RUNNING,
    (State.CLEAN, Event.REQUEST): State.RUNNING,
    (State.RUNNING, Event.FINISH): State.IDLE,
    (State.IDLE, Event.SIGNAL_IO_WAIT): State.IO_WAIT,
    # A wait may be announced again, with another estimate.
    (State.IO_WAIT, Event.SIGNAL_IO_WAIT): State.IO_WAIT,
    (State.COPYING, Event.SIGNAL_IO_WAIT): State.COPYING,
    (State.CLEAN, Event.SIGNAL_IO_WAIT): State.CLEAN,
    (State.SWAPPING_OUT, Event.SIGNAL_IO_WAIT): State.SWAPPING_OUT,
    (State.EVICTED, Event.SIGNAL_IO_WAIT): State.EVICTED,
    (State.PREFETCHING, Event.SIGNAL_IO_WAIT): State.PREFETCHING,
    (State.IDLE, Event.SWAP_OUT): State.SWAPPING_OUT,
    (State.IO_WAIT, Event.SWAP_OUT): State.SWAPPING_OUT,
    (State.SWAPPING_OUT, Event.SWAPPED_OUT): State.EVICTED,
    (State.IO_WAIT, Event.COPY_OUT): State.COPYING,
    (State.COPYING, Event.COPIED_OUT): State.CLEAN,
    (State.CLEAN, Event.RECLAIM): State.EVICTED,
    (State.EVICTED, Event.SWAP_IN): State.SWAPPING_IN,
    (State.SWAPPING_IN, Event.SWAPPED_IN): State.IDLE,
    (State.EVICTED, Event.PREFETCH): State.PREFETCHING,
    (State.PREFETCHING, Event.PREFETCHED): State.CLEAN,
    (State.NEW, Event.CLOSE): State.CLOSED,
    (State.IDLE, Event.CLOSE): State.CLOSED,
    (State.IO_WAIT, Event.CLOSE): State.CLOSED,
    (State.CLEAN, Event.CLOSE): State.CLOSED,
    (State.EVICTED, Event.CLOSE): State.CLOSED,
}


def next_state(session_id: str, state: State, event: Event) -> State:
    """Return the state after an event.

    Raises:
        SessionStateError: the state does not allow the event; nothing changes.
    """
    following = _TABLE.get((state, event))
    if following is None:
        raise SessionStateError(
            f"Session {session_id!r} is {state.value} and cannot take {event.value}; finish what is under way first."
        )
    return following
