"""A server's thread leaves its client the core, unless its computation needs every core."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from djinn.transport.cores import NO_CORE, Seat, current_core

_CORES = os.sched_getaffinity(0)
needs_two_cores = pytest.mark.skipif(len(_CORES) < 2, reason="one core leaves no choice")


def _core_after(num_busy_cores: int, client_core: int | None) -> tuple[int, int, set[int]]:
    """Return where a fresh thread was, where it went, and the cores it may use then."""

    def run() -> tuple[int, int, set[int]]:
        seat = Seat(num_busy_cores)
        before = current_core()
        seat.leave_to_client(before if client_core is None else client_core)
        return before, current_core(), os.sched_getaffinity(0)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


@needs_two_cores
def test_a_thread_on_its_clients_core_moves_away() -> None:
    """At once, and may come back when the client is elsewhere."""
    before, after, allowed = _core_after(1, None)
    assert after != before
    assert allowed == _CORES
    assert os.sched_getaffinity(0) == _CORES


@pytest.mark.parametrize(("num_busy_cores", "client_core"), [(len(_CORES), None), (1, NO_CORE)])
def test_a_thread_stays_where_it_needs_every_core_or_does_not_know_the_client(
    num_busy_cores: int, client_core: int | None
) -> None:
    """Its workers inherit its cores, so none may be taken from them."""
    before, after, allowed = _core_after(num_busy_cores, client_core)
    assert after == before
    assert allowed == _CORES
