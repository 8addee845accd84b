"""One message in shared memory, between ends that fall asleep whenever they like."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djinn.errors import ProtocolError
from djinn.transport.mailbox import (
    _AWAKE,
    ENCLOSED,
    ENDED_AT_BYTES,
    MAILBOX_BYTES,
    MAX_BODY_BYTES,
    Elsewhere,
    Inbox,
    Outbox,
)

Ends = tuple[Outbox, Inbox]


def _ends() -> Ends:
    memory = memoryview(bytearray(MAILBOX_BYTES))
    outbox, inbox = Outbox(memory), Inbox(memory)
    inbox.wake()
    return outbox, inbox


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=300),
            st.binary(max_size=300) | st.builds(Elsewhere, st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 2)),
        )
    )
)
def test_what_is_put_is_taken(messages: list[tuple[bytes, bytes | Elsewhere]]) -> None:
    """One after the other, however long each is, with its payload behind it or elsewhere."""
    outbox, inbox = _ends()
    for body, payload in messages:
        if isinstance(payload, Elsewhere):
            assert outbox.put(body, *payload) is True
        else:
            assert outbox.put(body + payload, len(payload), ENCLOSED) is True
        assert inbox.has_next()
        assert not outbox.is_all_taken
        assert inbox.take() == (body, payload)
        assert outbox.is_all_taken
        assert not inbox.has_next()


def test_a_payload_longer_than_its_message_is_not_enclosed() -> None:
    """A sender that says so is asked for it in shared memory, where there is none."""
    outbox, inbox = _ends()
    outbox.put(b"body", 5, ENCLOSED)
    assert inbox.take() == (b"body", Elsewhere(5, ENCLOSED))


def test_only_the_last_message_is_confirmed_or_withdrawn() -> None:
    """Whichever way it took, and whatever was said of the one before."""
    outbox, inbox = _ends()
    for turn, decide in enumerate((outbox.confirm, outbox.withdraw, outbox.withdraw, outbox.confirm, outbox.confirm)):
        if turn % 2:
            outbox.count()
            inbox.count()
        else:
            outbox.put(b"provisional", 0, 0)
            inbox.take()
        assert inbox.is_confirmed() is None
        decide()
        assert inbox.is_confirmed() is (decide == outbox.confirm)


def test_a_message_of_exactly_the_room_is_taken() -> None:
    """And one that is a byte longer takes another way."""
    outbox, inbox = _ends()
    assert outbox.put(b"x" * (MAX_BODY_BYTES + 1), 0, 0) is None
    assert outbox.put(b"x" * MAX_BODY_BYTES, 0, 0) is True
    assert inbox.take()[0] == b"x" * MAX_BODY_BYTES


def test_what_a_message_announced_ends_with_its_number() -> None:
    """Which a device writes; not with that of the message before, whichever way either took."""
    memory = memoryview(bytearray(MAILBOX_BYTES))
    outbox, inbox = Outbox(memory), Inbox(memory)
    inbox.wake()
    device = memory[ENDED_AT_BYTES : ENDED_AT_BYTES + 8].cast("Q")
    for turn in range(4):
        number = outbox.next_number
        if turn % 2:
            outbox.count()
            inbox.count()
        else:
            assert outbox.put(b"x" * MAX_BODY_BYTES, 0, 0)
            assert inbox.take() is not None
        assert not inbox.has_ended()
        assert not inbox.watch(3, awaits_end=True)
        device[0] = number
        assert inbox.has_ended()
        assert inbox.watch(3, awaits_end=True)
        assert not inbox.watch(3)


def test_nobody_falls_asleep_who_waits_for_what_has_ended() -> None:
    """Only who waits for the next message does."""
    memory = memoryview(bytearray(MAILBOX_BYTES))
    outbox, inbox = Outbox(memory), Inbox(memory)
    inbox.wake()
    number = outbox.next_number
    outbox.put(b"announced", 0, 0)
    inbox.take()
    assert inbox.falls_asleep(awaits_end=True)
    assert not outbox.is_peer_awake
    inbox.wake()
    memory[ENDED_AT_BYTES : ENDED_AT_BYTES + 8].cast("Q")[0] = number
    assert not inbox.falls_asleep(awaits_end=True)
    assert outbox.is_peer_awake
    assert inbox.falls_asleep()


def test_nothing_is_left_for_a_receiver_that_sleeps() -> None:
    """Nobody would find it; when the receiver is awake again, it would."""
    outbox, inbox = _ends()
    assert inbox.falls_asleep()
    assert outbox.put(b"first", 0, 0) is None
    inbox.wake()
    assert outbox.put(b"first", 0, 0) is True


def test_nothing_is_left_for_a_receiver_that_never_said_it_is_awake() -> None:
    """A peer that does not know of mailboxes gets everything through the socket."""
    assert Outbox(memoryview(bytearray(MAILBOX_BYTES))).put(b"first", 0, 0) is None


def test_a_message_is_not_overwritten() -> None:
    """The next ones take another way until both are taken, and the receiver knows in which order they came."""
    outbox, inbox = _ends()
    outbox.put(b"first", 0, 0)
    assert outbox.put(b"second", 0, 0) is None
    outbox.count()
    assert inbox.take()[0] == b"first"
    assert not inbox.has_next()  # the second comes first, wherever it is
    assert not outbox.is_all_taken
    assert outbox.put(b"third", 0, 0) is None
    inbox.count()
    assert outbox.is_all_taken
    assert outbox.put(b"third", 0, 0) is True
    assert inbox.take()[0] == b"third"


def test_whoever_takes_an_end_over_goes_on_where_it_was() -> None:
    """As a forked process does, and then its parent again."""
    memory = memoryview(bytearray(MAILBOX_BYTES))
    outboxes, inboxes = [Outbox(memory) for _ in range(2)], [Inbox(memory) for _ in range(2)]
    inboxes[0].wake()
    for turn in range(8):
        assert outboxes[turn % 2].put(bytes([turn]), 0, 0) is True
        assert inboxes[turn // 2 % 2].take()[0] == bytes([turn])


@pytest.mark.parametrize("number", [2**64 - 1, 2**63, 0])
def test_numbers_that_the_peer_made_up_do_no_harm(number: int) -> None:
    """Nothing is raised; whoever writes them misses messages of its own."""
    memory = memoryview(bytearray(MAILBOX_BYTES))
    outbox, inbox = Outbox(memory), Inbox(memory)
    inbox.wake()
    for place in (0, 32, 64):
        memory[place : place + 8] = number.to_bytes(8, "little")
    for _ in range(3):
        outbox.count()
        inbox.count()
        if outbox.put(b"body", 0, 0) is not None:
            assert inbox.has_next()


def test_a_message_that_comes_while_it_is_watched_for_is_found() -> None:
    """As is one that is there at the first look; after the last one nobody waits."""
    outbox, inbox = _ends()
    assert not inbox.watch(32)
    sending = threading.Timer(0.05, outbox.put, (b"late", 0, 0))
    sending.start()
    assert inbox.watch(1 << 40)
    assert inbox.watch(1)
    sending.join()
    assert inbox.take() == (b"late", b"")
    assert not inbox.watch(1)


def test_a_receiver_with_a_message_does_not_fall_asleep() -> None:
    """It stays awake for the one after it, too."""
    outbox, inbox = _ends()
    outbox.put(b"first", 0, 0)
    assert not inbox.falls_asleep()
    inbox.take()
    assert outbox.put(b"second", 0, 0) is True


class _Meanwhile:
    """A fence at which something else happens."""

    def __init__(self, happen: Callable[[], Any]) -> None:
        self._happen = happen

    def acquire(self, blocking: bool) -> None:
        """Be a lock that is free."""

    def release(self) -> None:
        """Let it happen."""
        self._happen()


def test_whoever_falls_asleep_while_a_message_is_left_is_rung_or_finds_it() -> None:
    """Whichever end passes its fence first, one of them notices."""
    outbox, inbox = _ends()
    sleeps: list[bool] = []
    outbox._fence = _Meanwhile(lambda: sleeps.append(inbox.falls_asleep()))  # type: ignore[assignment]
    assert outbox.put(b"first", 0, 0) is True
    assert sleeps == [False]
    inbox.take()

    outbox, inbox = _ends()
    put: list[bool | None] = []
    inbox._fence = _Meanwhile(lambda: put.append(outbox.put(b"second", 0, 0)))  # type: ignore[assignment]
    assert inbox.falls_asleep()
    assert put == [None]

    outbox, inbox = _ends()
    outbox._fence = _Meanwhile(lambda: inbox._words.__setitem__(_AWAKE, 0))  # type: ignore[assignment]
    assert outbox.put(b"third", 0, 0) is False


def test_a_fence_that_an_interrupt_left_taken_is_passed() -> None:
    """At either end, and however often."""
    outbox, inbox = _ends()
    for _ in range(3):
        outbox._fence.acquire(blocking=False)
        assert outbox.put(b"body", 0, 0) is True
        assert inbox.take() == (b"body", b"")
        inbox._fence.acquire(blocking=False)
        assert inbox.falls_asleep()
        inbox.wake()


@pytest.mark.parametrize("num_bytes", [MAX_BODY_BYTES + 1, 2**64 - 1])
def test_a_lie_about_the_length_is_refused(num_bytes: int) -> None:
    """Nothing behind the mailbox is read."""
    memory = memoryview(bytearray(2 * MAILBOX_BYTES))
    outbox, inbox = Outbox(memory), Inbox(memory)
    inbox.wake()
    outbox.put(b"body", 0, 0)
    memory[8:16] = num_bytes.to_bytes(8, "little")
    with pytest.raises(ProtocolError, match=f"is said to hold {num_bytes}"):
        inbox.take()
