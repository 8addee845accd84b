"""A server's thread leaves its client the core, unless its computation needs every core."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from djinn.transport.cores import NO_CORE, Seat, current_core

_CORES = os.sched_getaffinity(0)
needs_two_cores = pytest.mark.skipif(len(_CORES) < 2, reason="one core leaves no choice")
Move = tuple[int, set[int]]


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[Move]:
    """Where a thread found itself after each change of the cores that it may use, and these cores, as they come."""
    noted: list[Move] = []
    change = os.sched_setaffinity

    def note(process: int, cores: set[int]) -> None:
        change(process, cores)
        noted.append((current_core(), set(cores)))

    monkeypatch.setattr(os, "sched_setaffinity", note)
    return noted


def _leave(moves: list[Move], num_busy_cores: int, client_core: int | None) -> int:
    """Let a fresh thread leave, from a core that only the test takes it off, and return that core."""

    def run() -> int:
        seat = Seat(num_busy_cores)
        own = current_core()
        os.sched_setaffinity(0, {own})
        moves.clear()
        seat.leave_to_client(own if client_core is None else client_core)
        return own

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


@needs_two_cores
def test_a_thread_on_its_clients_core_moves_away(moves: list[Move]) -> None:
    """At once, and may come back when the client is elsewhere."""
    own = _leave(moves, 1, None)
    (away, narrow), (_, wide) = moves
    assert away != own
    assert narrow == _CORES - {own}
    assert wide == _CORES == os.sched_getaffinity(0)


@pytest.mark.parametrize(("num_busy_cores", "client_core"), [(len(_CORES), None), (1, NO_CORE)])
def test_a_thread_stays_where_it_needs_every_core_or_does_not_know_the_client(
    moves: list[Move], num_busy_cores: int, client_core: int | None
) -> None:
    """Its workers inherit its cores, so none may be taken from them."""
    _leave(moves, num_busy_cores, client_core)
    assert moves == []
