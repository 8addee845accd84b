"""Framed messages over real sockets, with and without shared memory."""

from __future__ import annotations

import io
import os
import random
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from djinn.errors import ConnectionFailedError, ProtocolError
from djinn.protocol.frames import pack_header, pack_ring
from djinn.transport import stream as stream_module
from djinn.transport.mailbox import _AWAKE, ENCLOSED, ENDED_AT_BYTES, IS_SUPPORTED, MAX_BODY_BYTES
from djinn.transport.shared_memory import KEPT_BYTES, SharedMemory
from djinn.transport.stream import MAX_ENCLOSED_BYTES, FramedStream
from djinn.units import GiB, MiB

Pair = tuple[FramedStream, FramedStream]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected ends."""
    ends = socket.socketpair()
    streams = (FramedStream(ends[0]), FramedStream(ends[1]))
    yield streams
    for stream in streams:
        stream.close()


@pytest.mark.parametrize(("body_bytes", "payload_bytes"), [(0, 0), (1, 1), (70_000, 3), (10, 3_000_000)])
def test_messages_arrive_whole(pair: Pair, body_bytes: int, payload_bytes: int) -> None:
    """Sizes below and above every buffer."""
    body, payload = b"b" * body_bytes, bytes(range(256)) * (payload_bytes // 256) + b"x" * (payload_bytes % 256)
    sender = threading.Thread(target=lambda: [pair[0].send(body, payload) for _ in range(3)])
    sender.start()
    for _ in range(3):
        got_body, got_payload = pair[1].receive()
        assert got_body == body
        assert bytes(got_payload) == payload
    sender.join()


def test_nothing_is_allocated_for_what_is_only_announced(pair: Pair) -> None:
    """A peer that announces 60 GiB and sends 3 bytes costs a megabyte."""
    body = pack_header(0, 60 * GiB, is_shared=False) + b"abc"
    pair[0]._socket.sendall(body)
    pair[0]._socket.shutdown(socket.SHUT_WR)
    tracemalloc.start()
    with pytest.raises(ConnectionFailedError):
        pair[1].receive()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 * MiB


@pytest.fixture
def shared_pair(pair: Pair) -> Pair:
    """Two connected ends that map 8,192 bytes, of which the second half is for replies that stay."""
    memory = SharedMemory.create(8192)
    pair[0].shared = memory
    pair[1].shared = SharedMemory(io.FileIO(os.dup(memory.file.fileno()), "r+"), 8192)
    return pair


@pytest.mark.parametrize(("num_bytes", "offset_bytes"), [(4096, 0), (4096, 4096), (96, 8096)])
def test_payloads_go_through_shared_memory(shared_pair: Pair, num_bytes: int, offset_bytes: int) -> None:
    """With shared memory the stream carries no tensor bytes; they lie where the peer wants them."""
    sender, receiver = shared_pair
    assert receiver.shared is not None
    sender.send(b"body", b"p" * num_bytes, offset_bytes=offset_bytes)
    body, payload = receiver.receive()
    assert (body, bytes(payload)) == (b"body", b"p" * num_bytes)
    assert bytes(receiver.shared.view[offset_bytes : offset_bytes + num_bytes]) == b"p" * num_bytes


def test_what_lies_in_its_place_is_not_copied(shared_pair: Pair) -> None:
    """It is sent from there; anything else is copied there, and so is the same at another time."""
    sender, receiver = shared_pair
    assert receiver.shared is not None
    place = sender.place(4096, 8)
    assert place is not None
    place.view[:] = b"in place"
    sender.send(b"body", place.view, offset_bytes=4096)
    assert bytes(receiver.receive()[1]) == b"in place"
    assert sender.place(4096, 8) is not None
    sender.send(b"body", b"anything", offset_bytes=4096)
    assert bytes(receiver.receive()[1]) == b"anything"
    place = sender.place(4096, 8)
    assert place is not None
    for offset_bytes in (4096, 6000):
        sender.send(b"body", place.view, offset_bytes=offset_bytes)
        assert bytes(receiver.receive()[1]) == b"anything"
    assert receiver.shared.view[6000:6008] == b"anything"
    place = sender.place(4096, 8)
    assert place is not None
    sender.send(b"body", place.view, offset_bytes=7000)
    receiver.receive()
    assert receiver.shared.view[7000:7008] == b"anything", "it was sent from a place where nobody wants it"
    assert sender.place(0, 8) is None
    place.view.release()


def test_there_is_no_place_without_shared_memory(pair: Pair) -> None:
    """What is sent goes through the socket."""
    assert pair[0].place(4096, 8) is None


def test_what_came_to_an_offset_stays(shared_pair: Pair) -> None:
    """Other payloads, even as large as fit, go elsewhere."""
    sender, receiver = shared_pair
    sender.send(b"", b"s" * 4096, offset_bytes=4096)
    _, staying = receiver.receive()
    for num_bytes in (4096, 4097, 8192):
        sender.send(b"", b"n" * num_bytes)
        assert bytes(receiver.receive()[1]) == b"n" * num_bytes
        assert bytes(staying) == b"s" * 4096


def test_what_does_not_fit_at_an_offset_comes_through_the_stream(shared_pair: Pair) -> None:
    """Nothing is cut off."""
    sender, receiver = shared_pair
    sender.send(b"", b"p" * 97, offset_bytes=8096)
    assert bytes(receiver.receive()[1]) == b"p" * 97


@pytest.mark.parametrize("offset_bytes", [-1, 1, 4095, 8192, 2**63])
def test_an_offset_outside_the_place_for_replies_is_refused(shared_pair: Pair, offset_bytes: int) -> None:
    """A peer that wants its reply there is told where replies go."""
    with pytest.raises(ProtocolError, match=r"replies have bytes 4096 to 8192"):
        shared_pair[0].send(b"", b"p", offset_bytes=offset_bytes)


@pytest.mark.parametrize(("payload_bytes", "payload_offset"), [(8193, 0), (1, 8192), (4097, 4096), (1, 2**64 - 1)])
def test_a_header_that_points_outside_is_refused(shared_pair: Pair, payload_bytes: int, payload_offset: int) -> None:
    """Nothing outside the shared memory is read."""
    header = pack_header(0, payload_bytes, is_shared=True, payload_offset=payload_offset)
    shared_pair[0]._socket.sendall(header)
    with pytest.raises(ProtocolError, match="shared memory that this connection does not have"):
        shared_pair[1].receive()


def test_pages_of_large_payloads_are_given_back(pair: Pair) -> None:
    """When the receiver sends next: then both ends are done with them; small ones stay for the next payload."""
    memory = SharedMemory.create(8 * KEPT_BYTES)
    pair[0].shared = memory
    pair[1].shared = SharedMemory(memory.file, 8 * KEPT_BYTES)
    for num_bytes, kept_bytes in ((KEPT_BYTES // 2, KEPT_BYTES // 2), (3 * KEPT_BYTES, KEPT_BYTES)):
        pair[0].send(b"", bytes([7]) * num_bytes)
        _, payload = pair[1].receive()
        assert payload[num_bytes - 1] == 7
        pair[1].send(b"done")
        pair[0].receive()
        assert os.fstat(memory.file.fileno()).st_blocks * 512 == kept_bytes
    pair[1].shared = None


def test_a_reference_to_shared_memory_that_is_not_there_is_refused(pair: Pair) -> None:
    """A peer cannot make this side read beyond what it maps."""
    pair[0].shared = SharedMemory.create(4096)
    pair[0].send(b"body", b"p")
    with pytest.raises(ProtocolError, match="shared memory"):
        pair[1].receive()


def test_a_peer_that_leaves_is_reported(pair: Pair) -> None:
    """The end of a connection is an error with a remedy, also in mid-message."""
    pair[0]._socket.sendall(b"DJ")
    pair[0].close()
    with pytest.raises(ConnectionFailedError, match="connect again"):
        pair[1].receive()


def test_a_file_for_a_peer_that_left_is_a_connection_that_failed(pair: Pair) -> None:
    """Not an error of the system, which nobody expects."""
    pair[1].close()
    with pytest.raises(ConnectionFailedError, match="connect again"):
        pair[0].send_file(SharedMemory.create(4096).file)


def test_spinning_gives_up(pair: Pair) -> None:
    """Without a message, spinning ends and says so."""
    assert not pair[1].wait_spinning(50)
    pair[0].send(b"x")
    assert pair[1].wait_spinning(1e6)


has_mailboxes = pytest.mark.skipif(
    not IS_SUPPORTED, reason="needs an x86 processor, elsewhere messages keep to the socket"
)


@pytest.fixture
def mail_pair(shared_pair: Pair) -> Pair:
    """Two connected ends that leave each other messages in shared memory."""
    for number, stream in enumerate(shared_pair):
        stream.open_mailboxes(is_creator=number == 0)
    return shared_pair


@has_mailboxes
@pytest.mark.parametrize("payload_bytes", [0, 4, 4096])
def test_small_messages_leave_the_socket_alone(mail_pair: Pair, payload_bytes: int) -> None:
    """In both directions, without a payload, with one in the mailbox and with one in shared memory."""
    for sender, receiver in (mail_pair, mail_pair[::-1]):
        sender.send(b"body", b"p" * payload_bytes)
        with pytest.raises(BlockingIOError):
            receiver._socket.recv(1, socket.MSG_DONTWAIT)
        assert receiver.wait_spinning(1e6)
        body, payload = receiver.receive()
        assert (body, bytes(payload)) == (b"body", b"p" * payload_bytes)


@has_mailboxes
@pytest.mark.parametrize(
    ("body_bytes", "payload_bytes", "offset_bytes", "is_enclosed"),
    [
        (0, 1, 0, True),
        (9, MAX_ENCLOSED_BYTES, 0, True),
        (MAX_BODY_BYTES - MAX_ENCLOSED_BYTES, MAX_ENCLOSED_BYTES, 0, True),
        (9, MAX_ENCLOSED_BYTES + 1, 0, False),
        (MAX_BODY_BYTES - MAX_ENCLOSED_BYTES + 1, MAX_ENCLOSED_BYTES, 0, False),
        (9, 16, 4096, False),
    ],
)
def test_small_payloads_come_with_their_message(
    mail_pair: Pair, body_bytes: int, payload_bytes: int, offset_bytes: int, is_enclosed: bool
) -> None:
    """They leave shared memory alone; not those that do not fit, or are wanted elsewhere."""
    sender, receiver = mail_pair
    assert receiver.shared is not None
    body, payload = b"b" * body_bytes, bytes(range(1, 129)) * (payload_bytes // 128) + b"p" * (payload_bytes % 128)
    sender.send(body, memoryview(payload), offset_bytes=offset_bytes)
    received = receiver.receive()
    assert (received[0], bytes(received[1])) == (body, payload)
    lies_there = bytes(receiver.shared.view[offset_bytes : offset_bytes + payload_bytes]) == payload
    assert lies_there is not is_enclosed
    sender.send(b"", b"next")
    assert is_enclosed <= (bytes(received[1]) == payload)


@has_mailboxes
def test_closing_unmaps_the_shared_memory_at_once(mail_pair: Pair) -> None:
    """A server whose clients come and go would hold descriptors until garbage is collected."""
    sender, receiver = mail_pair
    assert sender.shared is not None
    assert sender.end_of_next() is not None
    assert sender.place(sender.shared.payload_bytes, 16) is not None
    sender.send(b"body", b"payload")
    assert receiver.receive() == (b"body", b"payload")
    sender.close()
    assert sender.shared._map.closed


@pytest.mark.parametrize("seed", range(8))
def test_messages_arrive_in_order_whichever_way_they_take(mail_pair: Pair, seed: int) -> None:
    """Small and large ones, several at once or one, waited for in every way."""
    generator = random.Random(seed)
    sender, receiver = mail_pair
    number = 0
    for _ in range(100):
        # What is in shared memory has to be received before the next payload is sent.
        num_messages, payloads = generator.choice(((1, (0, 4, 4000, 9000)), (3, (0, 0, 9000))))
        sizes = [(generator.choice((3, MAX_BODY_BYTES + 1)), generator.choice(payloads)) for _ in range(num_messages)]
        expected = []
        for body_bytes, payload_bytes in sizes:
            number += 1
            expected.append((number.to_bytes(body_bytes, "little"), bytes([number % 256]) * payload_bytes))
            sender.send(*expected[-1])
        for body, payload in expected:
            wait = generator.choice(
                (lambda: True, lambda: receiver.wait_asleep(1e6), lambda: receiver.wait_spinning(1e6))
            )
            assert wait()
            assert receiver.receive() == (body, payload)


def _announce(sender: FramedStream) -> Callable[[], None]:
    """Announce something with a message, and return what its device does in the end."""
    end = sender.end_of_next()
    assert end is not None
    place, number = end
    sender.send(b"announced")

    def end_it() -> None:
        place.view[ENDED_AT_BYTES : ENDED_AT_BYTES + 8].cast("Q")[0] = number

    return end_it


@has_mailboxes
@pytest.mark.parametrize("wait", ["spinning", "asleep", "blocking"])
def test_what_was_announced_is_awaited(mail_pair: Pair, wait: str) -> None:
    """By polling, by sleeping for a while, or until it comes; whoever sleeps is rung by the device's owner."""
    sender, receiver = mail_pair
    waits: dict[str, Callable[[], bool]] = {
        "spinning": lambda: receiver.wait_spinning(10e6, awaits_end=True),
        "asleep": lambda: receiver.wait_asleep(10e6, awaits_end=True),
        "blocking": receiver.await_end,
    }
    answers: list[bool] = []
    for _ in range(3):
        end_it = _announce(sender)
        assert receiver.receive()[0] == b"announced"
        assert not receiver.has_ended()
        assert not receiver.wait_spinning(1.0, awaits_end=True)
        assert not receiver.wait_asleep(1.0, awaits_end=True)
        waiting = threading.Thread(target=lambda: answers.append(waits[wait]()))
        waiting.start()
        while wait != "spinning" and sender.is_peer_awake:
            time.sleep(1e-3)
        end_it()
        sender.note_end()
        waiting.join(10)
        assert answers.pop()
        assert receiver.has_ended()
        assert receiver.await_end()
    sender.send(b"next")
    assert receiver.receive()[0] == b"next"


@has_mailboxes
@pytest.mark.parametrize("wait", ["spinning", "asleep", "blocking"])
@pytest.mark.parametrize("body_bytes", [4, MAX_BODY_BYTES + 1])
def test_another_message_may_come_instead_of_the_end(mail_pair: Pair, wait: str, body_bytes: int) -> None:
    """Through the mailbox or the socket; it is the next one."""
    sender, receiver = mail_pair
    _announce(sender)
    receiver.receive()
    waits: dict[str, Callable[[], bool]] = {
        "spinning": lambda: receiver.wait_spinning(10e6, awaits_end=True),
        "asleep": lambda: receiver.wait_asleep(10e6, awaits_end=True),
        "blocking": lambda: not receiver.await_end(),
    }
    came: list[bool] = []
    waiting = threading.Thread(target=lambda: came.append(waits[wait]()))
    waiting.start()
    while wait != "spinning" and sender.is_peer_awake:
        time.sleep(1e-3)
    sender.send(b"x" * body_bytes)
    waiting.join(10)
    assert came == [True]
    assert not receiver.await_end()
    assert receiver.receive()[0] == b"x" * body_bytes


@has_mailboxes
def test_nobody_waits_for_the_end_of_a_peer_that_left(mail_pair: Pair) -> None:
    """Its device may never say so."""
    sender, receiver = mail_pair
    _announce(sender)
    receiver.receive()
    sender._socket.close()
    with pytest.raises(ConnectionFailedError):
        receiver.wait_spinning(10e6, awaits_end=True)
    with pytest.raises(ConnectionFailedError):
        receiver.await_end()


@has_mailboxes
def test_nothing_is_announced_to_a_peer_that_sleeps(mail_pair: Pair) -> None:
    """It is woken once, when everything is there."""
    sender, receiver = mail_pair
    assert receiver._inbox is not None
    assert receiver._inbox.falls_asleep()
    assert sender.end_of_next() is None
    receiver._inbox.wake()
    assert sender.end_of_next() is not None


def test_nothing_is_announced_without_mailboxes(pair: Pair) -> None:
    """And a peer that says it does all the same is not waited for."""
    assert pair[0].end_of_next() is None
    pair[0].note_end()
    with pytest.raises(ProtocolError):
        pair[1].await_end()


@has_mailboxes
def test_a_message_is_taken_when_its_receiver_has_it(mail_pair: Pair) -> None:
    """Whoever leaves before that had no answer."""
    sender, receiver = mail_pair
    assert sender.is_taken
    sender.send(b"body")
    assert not sender.is_taken
    receiver.receive()
    assert sender.is_taken


def test_a_message_that_could_not_be_sent_is_not_taken(pair: Pair) -> None:
    """The peer was gone."""
    pair[1].close()
    with pytest.raises(ConnectionFailedError):
        pair[0].send(b"body")
    assert not pair[0].is_taken


@has_mailboxes
def test_a_message_that_waits_in_the_socket_is_not_taken(mail_pair: Pair) -> None:
    """Whoever was interrupted while it slept never had it."""
    sender, receiver = mail_pair
    assert receiver._inbox is not None
    assert receiver._inbox.falls_asleep()
    sender.send(b"body")
    assert not sender.is_taken
    receiver.receive()
    assert sender.is_taken


def test_the_last_message_of_a_peer_that_leaves_arrives(mail_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although it was left in the mailbox after that was looked at, and the socket was closed before it is."""
    sender, receiver = mail_pair
    look = receiver._reader.look

    def look_late() -> bool:
        sender.send(b"last")
        sender.close()
        return look()

    monkeypatch.setattr(receiver._reader, "look", look_late)
    assert receiver.wait_spinning(1e6)
    assert receiver.receive()[0] == b"last"
    monkeypatch.undo()
    with pytest.raises(ConnectionFailedError):
        receiver.wait_spinning(1e6)


def test_a_message_that_came_as_its_receiver_fell_asleep_is_received(
    mail_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody rings for it: its receiver was awake when it was sent."""
    sender, receiver = mail_pair
    assert receiver._inbox is not None
    falls_asleep = receiver._inbox.falls_asleep

    def fall_asleep_late() -> bool:
        sender.send(b"body")
        return falls_asleep()

    monkeypatch.setattr(type(receiver._inbox), "falls_asleep", lambda _: fall_asleep_late())
    receiving = threading.Thread(target=lambda: taken.append(receiver.receive()[0]), daemon=True)
    taken: list[bytes] = []
    receiving.start()
    receiving.join(10)
    assert taken == [b"body"]


@has_mailboxes
def test_a_receiver_that_sleeps_is_woken(mail_pair: Pair) -> None:
    """Through the socket, where nothing else would wake it."""
    sender, receiver = mail_pair
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(receiver.receive()[0]), daemon=True)
    thread.start()
    time.sleep(0.05)
    sender.send(b"body")
    thread.join(30)
    assert received == [b"body"]


def _goes_through_the_socket(sender: FramedStream, receiver: FramedStream) -> bool:
    sender.send(b"body")
    try:
        receiver._socket.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    except BlockingIOError:
        return False
    finally:
        assert receiver.receive()[0] == b"body"
    return True


@has_mailboxes
def test_a_receiver_that_was_woken_is_awake(mail_pair: Pair) -> None:
    """By a message in the socket, or by the end of its sleep: the next message is left for it to find."""
    sender, receiver = mail_pair
    assert receiver._inbox is not None
    assert receiver._inbox.falls_asleep()
    assert _goes_through_the_socket(sender, receiver)
    assert not _goes_through_the_socket(sender, receiver)
    assert not receiver.wait_asleep(1.0)
    assert not _goes_through_the_socket(sender, receiver)


class _FallsAsleep:
    """A sender's fence, while which the receiver falls asleep."""

    def __init__(self, receiver: FramedStream) -> None:
        self._receiver = receiver

    def acquire(self, blocking: bool) -> None:
        """Be a lock that is free."""

    def release(self) -> None:
        """Let the receiver fall asleep."""
        assert self._receiver._inbox is not None
        self._receiver._inbox._words[_AWAKE] = 0


@has_mailboxes
def test_what_follows_a_ring_comes_after_what_it_announces(mail_pair: Pair) -> None:
    """Both come in one read from the socket, the first message in the mailbox."""
    sender, receiver = mail_pair
    assert sender._outbox is not None
    sender._outbox._fence = _FallsAsleep(receiver)  # type: ignore[assignment]
    sender.send(b"first")
    sender.send(b"second")
    assert receiver._reader.look()
    assert [receiver.receive()[0] for _ in range(2)] == [b"first", b"second"]


def test_needless_rings_are_skipped(mail_pair: Pair) -> None:
    """One that was rung for a message it had already taken goes on waiting for the next."""
    sender, receiver = mail_pair
    for number in range(3):
        sender._socket.sendall(pack_ring() * number)
        sender.send(bytes([number]))
        sender._socket.sendall(pack_ring())
        assert receiver.wait_spinning(1e6)
        assert receiver.receive()[0] == bytes([number])
    sender.send(b"x" * (MAX_BODY_BYTES + 1))
    assert len(receiver.receive()[0]) == MAX_BODY_BYTES + 1


@has_mailboxes
def test_whoever_sleeps_takes_no_notice_of_late_rings(mail_pair: Pair) -> None:
    """One that was for what had been seen before it: the sleep goes on, until a message comes whichever way."""
    sender, receiver = mail_pair
    sender._socket.sendall(pack_ring())
    assert not receiver.wait_asleep(20_000.0)
    sender._socket.sendall(pack_ring())
    waking = threading.Timer(0.05, lambda: sender.send(b"body"))
    waking.start()
    assert receiver.wait_asleep(30e6)
    assert receiver.receive()[0] == b"body"
    waking.join()


def test_whoever_polls_takes_no_notice_of_rings(mail_pair: Pair) -> None:
    """One that is awake looks into the mailbox anyway; what follows them in the socket is a message."""
    sender, receiver = mail_pair
    sender._socket.sendall(pack_ring() * 2)
    assert not receiver.wait_spinning(1e3)
    sender._socket.sendall(pack_ring())
    sender.send(b"x" * (MAX_BODY_BYTES + 1))
    assert receiver.wait_spinning(1e6)
    assert len(receiver.receive()[0]) == MAX_BODY_BYTES + 1


@has_mailboxes
def test_a_payload_outside_the_shared_memory_is_refused(mail_pair: Pair) -> None:
    """A mailbox may say anything."""
    sender, receiver = mail_pair
    assert sender._outbox is not None
    for payload_bytes, payload_offset in ((8193, 0), (1, 8192), (1, ENCLOSED - 1), (5, ENCLOSED)):
        assert sender._outbox.put(b"body", payload_bytes, payload_offset)
        with pytest.raises(ProtocolError, match="shared memory that this connection does not have"):
            receiver.receive()


def test_where_the_order_of_words_is_not_kept_messages_keep_to_the_socket(
    shared_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on processors that are not x86."""
    monkeypatch.setattr(stream_module, "IS_SUPPORTED", False)
    for number, stream in enumerate(shared_pair):
        stream.open_mailboxes(is_creator=number == 0)
    shared_pair[0].send(b"body")
    assert shared_pair[1]._socket.recv(4, socket.MSG_PEEK) == b"DJNN"
    assert shared_pair[1].receive()[0] == b"body"


def test_no_message_is_lost_between_processes_that_fall_asleep_at_any_time() -> None:
    """Two processes take turns 20,000 times, each sleeping after no wait at all, or a very short one."""
    ends = socket.socketpair()
    memory = SharedMemory.create(8192)
    child = os.fork()
    number = 0 if child else 1
    # A lost message makes its receiver wait; the patience ends that, and the test with an error.
    stream = FramedStream(ends[number], patience_s=120)
    ends[1 - number].close()
    stream.shared = memory
    stream.open_mailboxes(is_creator=number == 0)
    generator = random.Random(number)
    try:
        for turn in range(20_000):
            body = turn.to_bytes(4, "little")
            if child:
                stream.send(body)
            if generator.random() < 0.5:
                stream.wait_spinning(generator.choice((0, 1, 3, 10)))
            assert stream.receive()[0] == body
            if not child:
                stream.send(body)
    finally:
        if not child:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not IS_SUPPORTED, reason="mailboxes are for x86")
@pytest.mark.parametrize("body_bytes", [4, 2 * MAX_BODY_BYTES])
def test_a_confirmation_is_waited_for(shared_pair: Pair, body_bytes: int) -> None:
    """Whether the message came through the mailbox or the socket, for as long as was said and no longer."""
    sender, receiver = shared_pair
    for stream, is_creator in ((sender, True), (receiver, False)):
        stream.open_mailboxes(is_creator=is_creator)
    patience_us = 60e6
    for decide, timeout_us, expected in (
        (sender.confirm, patience_us, True),
        (sender.withdraw, patience_us, False),
        (lambda: None, 1e4, False),
    ):
        sending = threading.Thread(target=sender.send, args=(b"b" * body_bytes,))
        sending.start()
        assert receiver.receive()[0] == b"b" * body_bytes
        sending.join()
        timer = threading.Timer(0.05, decide)
        timer.start()
        assert receiver.await_confirmation(timeout_us) is expected
        timer.join()


def test_a_peer_that_dies_before_it_passes_its_memory_is_gone(pair: Pair) -> None:
    """With what it was sent unread, as a server does that ends in between."""
    pair[0].send(b"greeting")
    pair[1].close()
    with pytest.raises(ConnectionFailedError, match="connect again"):
        pair[0].receive_file()


def test_nothing_is_confirmed_without_shared_memory(pair: Pair) -> None:
    """Nor is it waited for."""
    pair[0].send(b"provisional")
    pair[1].receive()
    pair[0].confirm()
    assert pair[1].await_confirmation(1e9) is False
