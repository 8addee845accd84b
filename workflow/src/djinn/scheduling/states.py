"""The life of a session as a table: (state, event) -> state. This file holds nothing else.

IDLE ⇄ RUNNING            a request starts and ends
IDLE → IO_WAIT → IDLE     phase signals
IDLE, IO_WAIT → SWAPPING_OUT → EVICTED → SWAPPING_IN → IDLE
"""

from __future__ import annotations

from enum import Enum

from djinn.errors import SessionStateError


class State(Enum):
    """Where a session stands."""

    IDLE = "idle"
    RUNNING = "running"
    IO_WAIT = "io_wait"
    SWAPPING_OUT = "swapping_out"
    EVICTED = "evicted"
    SWAPPING_IN = "swapping_in"
    CLOSED = "closed"


class Event(Enum):
    """What happens to a session."""

    REQUEST = "request"
    FINISH = "finish"
    SIGNAL_IO_WAIT = "signal_io_wait"
    SIGNAL_COMPUTE = "signal_compute"
    SWAP_OUT = "swap_out"
    SWAPPED_OUT = "swapped_out"
    SWAP_IN = "swap_in"
    SWAPPED_IN = "swapped_in"
    CLOSE = "close"


RESIDENT_STATES = frozenset({State.IDLE, State.RUNNING, State.IO_WAIT, State.SWAPPING_OUT, State.SWAPPING_IN})

_TABLE: dict[tuple[State, Event], State] = {
    (State.IDLE, Event.REQUEST): State.RUNNING,
    (State.IO_WAIT, Event.REQUEST): State.RUNNING,
    (State.RUNNING, Event.FINISH): State.IDLE,
    (State.IDLE, Event.SIGNAL_IO_WAIT): State.IO_WAIT,
    (State.IO_WAIT, Event.SIGNAL_IO_WAIT): State.IO_WAIT,
    (State.SWAPPING_OUT, Event.SIGNAL_IO_WAIT): State.SWAPPING_OUT,
    (State.EVICTED, Event.SIGNAL_IO_WAIT): State.EVICTED,
    (State.IDLE, Event.SIGNAL_COMPUTE): State.IDLE,
    (State.IO_WAIT, Event.SIGNAL_COMPUTE): State.IDLE,
    (State.SWAPPING_OUT, Event.SIGNAL_COMPUTE): State.SWAPPING_OUT,
    (State.EVICTED, Event.SIGNAL_COMPUTE): State.EVICTED,
    (State.IDLE, Event.SWAP_OUT): State.SWAPPING_OUT,
    (State.IO_WAIT, Event.SWAP_OUT): State.SWAPPING_OUT,
    (State.SWAPPING_OUT, Event.SWAPPED_OUT): State.EVICTED,
    (State.EVICTED, Event.SWAP_IN): State.SWAPPING_IN,
    (State.SWAPPING_IN, Event.SWAPPED_IN): State.IDLE,
    (State.IDLE, Event.CLOSE): State.CLOSED,
    (State.IO_WAIT, Event.CLOSE): State.CLOSED,
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
