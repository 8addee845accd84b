"""The pool's bookkeeping: room is taken for what is new, and spare copies make way, the oldest first."""

from __future__ import annotations

import pytest

from djinn.scheduling.host_copies import HostCopies
from djinn.scheduling.sessions import Session


class Pool:
    """A pool of ten bytes with what it was told to drop."""

    def __init__(self) -> None:
        self.dropped: list[Session] = []
        self.copies = HostCopies(10, self.dropped.append)

    def copied(self, name: str, num_bytes: int) -> Session:
        """Return a session with a copy."""
        session = Session(name, num_bytes)
        assert self.copies.make_room(session)
        session.has_copy = True
        return session


def test_a_copy_that_grew_takes_only_what_is_new() -> None:
    """Its old bytes are accounted for already."""
    pool = Pool()
    session = pool.copied("grows", 6)
    session.used_bytes = 10
    assert pool.copies.make_room(session)
    assert pool.copies.used_bytes == 10


def test_a_full_pool_refuses_and_counts_nothing() -> None:
    """Copies that are needed stay."""
    pool = Pool()
    sessions = [pool.copied("needed", 6)]
    refused = Session("refused", 5)
    assert not pool.copies.make_room(refused)
    assert (pool.copies.used_bytes, refused.copy_bytes, pool.dropped) == (6, 0, [])
    pool.copies.check_integrity([*sessions, refused])


def test_spare_copies_make_way_oldest_first_and_no_more_than_needed() -> None:
    """Each saves a later transfer."""
    pool = Pool()
    first, second = pool.copied("first", 4), pool.copied("second", 4)
    pool.copies.spare(first)
    pool.copies.spare(second)
    third = pool.copied("third", 6)
    assert pool.dropped == [first]
    assert not first.has_copy
    pool.copies.check_integrity([first, second, third])


def test_a_session_makes_no_way_for_itself() -> None:
    """Its spare copy is the one that is written over."""
    pool = Pool()
    session = pool.copied("itself", 8)
    pool.copies.spare(session)
    session.used_bytes = 10
    assert pool.copies.make_room(session)
    assert pool.dropped == []


def test_forgetting_twice_counts_once() -> None:
    """The driver hears of it once, too."""
    pool = Pool()
    session = pool.copied("once", 4)
    pool.copies.forget(session)
    pool.copies.forget(session)
    assert (pool.copies.used_bytes, pool.dropped) == (0, [session])


@pytest.mark.parametrize("counted_bytes", [3, 11])
def test_the_audit_finds_what_is_miscounted(counted_bytes: int) -> None:
    """Lost bytes and a pool that overflows."""
    pool = Pool()
    session = pool.copied("counted", 4)
    pool.copies.used_bytes = counted_bytes
    with pytest.raises(AssertionError):
        pool.copies.check_integrity([session])
