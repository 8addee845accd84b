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
    for state in (State.RUNNING, State.SWAPPING_IN, State.SWAPPING_OUT, State.COPYING, State.PREFETCHING):
        with pytest.raises(SessionStateError):
            next_state("s", state, Event.CLOSE)


def test_an_eviction_and_its_return() -> None:
    """The round trip of a session that waits for a tool."""
    state = State.IDLE
    for event in (
        Event.SIGNAL_IO_WAIT,
        Event.SWAP_OUT,
        Event.SWAPPED_OUT,
        Event.SWAP_IN,
        Event.SWAPPED_IN,
        Event.REQUEST,
        Event.FINISH,
    ):
        state = next_state("s", state, event)
    assert state is State.IDLE


def test_a_clean_session_leaves_without_a_copy_and_may_be_brought_back_before_it_is_asked_for() -> None:
    """The round trip of a session whose client said when it expects to continue."""
    state = State.IO_WAIT
    for event in (Event.COPY_OUT, Event.COPIED_OUT, Event.RECLAIM, Event.PREFETCH, Event.PREFETCHED, Event.REQUEST):
        state = next_state("s", state, event)
    assert state is State.RUNNING


def test_what_is_being_moved_is_not_computed_with() -> None:
    """A copy of changing bytes would be neither the old ones nor the new."""
    for state in (State.COPYING, State.SWAPPING_OUT, State.SWAPPING_IN, State.PREFETCHING):
        with pytest.raises(SessionStateError):
            next_state("s", state, Event.REQUEST)
