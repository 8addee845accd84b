"""Whose turn it is to simulate: one thread at a time, and nobody waits for a simulation that waits for them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from djinn.tracing import UnplannableError

# Who waits longer may be a thread that the simulated forward waits for in its turn.
_MAX_WAIT_S = 5.0
# One at a time: what is refused and which values were changed is known of all of them together.
_simulation_lock = threading.Lock()


class _Turns:
    """How many simulations there were, and during which of them somebody waited in vain, as nobody shall do again."""

    number = 0
    given_up = -1


@contextlib.contextmanager
def simulation_turn() -> Iterator[None]:
    """Wait for the simulation of another thread.

    Raises:
        UnplannableError: it takes too long to be waited for.
    """
    current = _Turns.number
    if not _simulation_lock.acquire(timeout=0 if _Turns.given_up == current else _MAX_WAIT_S):
        _Turns.given_up = current
        raise UnplannableError("the simulation of another thread goes on")
    _Turns.number += 1
    try:
        yield
    finally:
        _simulation_lock.release()
