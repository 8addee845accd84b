"""Session states are one table; what it does not hold is refused."""

from __future__ import annotations

import pytest

from djinn.errors import SessionStateError
from djinn.scheduling.states import Event, State, next_state


def test_an_evicted_session_cannot_be_computed_with() -> None:
    """It has to be restored first; the error names session, state and event."""
    with pytest.raises(SessionStateError, match="'s' is evicted and cannot take request"):
        next_state("s", State.EVICTED, Event.REQUEST)


@pytest.mark.parametrize("event", list(Event))
def test_a_closed_session_takes_no_event(event: Event) -> None:
    """Closed is final."""
    with pytest.raises(SessionStateError):
        next_state("s", State.CLOSED, event)


def test_only_settled_sessions_are_closed() -> None:
    """Nobody closes a session that computes or moves."""
    for state in (State.RUNNING, State.SWAPPING_IN, State.SWAPPING_OUT):
        with pytest.raises(SessionStateError):
            next_state("s", state, Event.CLOSE)


def test_an_eviction_and_its_return() -> None:
    """The round trip of a session that waits for a tool."""
    state = State.IDLE
    for event in (
        Event.SIGNAL_IO_WAIT,
        Event.SWAP_OUT,
        Event.SWAPPED_OUT,
        Event.SIGNAL_COMPUTE,
        Event.SWAP_IN,
        Event.SWAPPED_IN,
        Event.REQUEST,
        Event.FINISH,
    ):
        state = next_state("s", state, event)
    assert state is State.IDLE
