"""Connections as the server sees them: those that take no replies or stop in a message are left, and there are only so many."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from djinn.client import client as client_module
from djinn.client.client import Client
from djinn.client.connection import Connection
from djinn.config import Config
from djinn.core import ValueRef
from djinn.errors import ConnectionFailedError, ProtocolError
from djinn.protocol import messages as m
from djinn.protocol.codec import decode_reply, encode
from djinn.protocol.frames import pack_header
from djinn.server import listener
from djinn.transport.address import Address
from djinn.transport.stream import FramedStream
from embedded import server_here
from late_device import LateDevice
from support import operator_call


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where a server listens that waits for a second for clients, and has places for four connections."""
    monkeypatch.setattr(listener, "MAX_SEND_S", 1)
    monkeypatch.setattr(listener, "MAX_RECEIVE_S", 1)
    monkeypatch.setattr(listener, "MAX_CONNECTIONS", 4)
    with server_here(tmp_path) as address:
        yield address


def test_a_client_that_takes_no_replies_is_left(address: str) -> None:
    """And its sessions with it; another client does not notice."""
    other = Client(address, Config())
    greedy = Connection(Address.parse(address), None)
    greedy.send(m.OpenSession(opened_id="held", arena_bytes=1 << 20))
    greedy.receive()
    with pytest.raises(ConnectionFailedError):
        for _ in range(1_000_000):
            greedy.send(m.Ping(busy_us=0.0))
    deadline_s = time.monotonic() + 30
    while other.request(m.Stats())[0].values["scheduler"]["num_sessions"]:
        assert time.monotonic() < deadline_s, "the session of a client that was left is still there"
    other.close()


def _stops_in_a_message(stream: FramedStream) -> None:
    stream._socket.sendall(pack_header(100, 0, is_shared=False) + b"half")


def _stops_in_a_payload(stream: FramedStream) -> None:
    body = encode(m.Upload(base_id=1, shape=(256,), dtype_code=0, is_weight=False))
    stream._socket.sendall(pack_header(len(body), 1024, is_shared=False) + body + bytes(1000))


def _drips(stream: FramedStream) -> None:
    for byte in pack_header(100, 0, is_shared=False) + bytes(100):
        stream._socket.send(bytes([byte]))
        time.sleep(0.2)


def _says_nothing(stream: FramedStream) -> None:
    """Nothing is sent."""


def _is_left(stream: FramedStream) -> bool:
    with contextlib.suppress(ConnectionFailedError):  # bytes that the server did not read take its last words away
        answer = decode_reply(stream.receive()[0])
        assert isinstance(answer, m.Failed)
        assert "did not arrive whole in time" in answer.message
    with pytest.raises(ConnectionFailedError):
        stream.receive()
    return True


@pytest.mark.parametrize("stop", [_stops_in_a_message, _stops_in_a_payload, _drips])
def test_a_client_that_stops_in_a_message_is_left(address: str, stop: Callable[[FramedStream], None]) -> None:
    """One that says nothing stays as long as it likes."""
    silent, slow = (Connection(Address.parse(address), None) for _ in range(2))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stop(slow._stream)
    assert _is_left(slow._stream)
    time.sleep(1.5)
    assert isinstance(silent.request(m.Ping(busy_us=0.0))[0], m.Done)
    for connection in (silent, slow):
        connection.close()


@pytest.mark.parametrize("stop", [_stops_in_a_message, _drips, _says_nothing])
def test_whoever_never_greets_is_left(address: str, stop: Callable[[FramedStream], None]) -> None:
    """However slowly: the time runs from the start of the connection."""
    with _ungreeted(address) as stream:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stop(stream)
        assert _is_left(stream)


@pytest.mark.parametrize(("body_bytes", "payload_bytes"), [(4_097, 0), (10, 1), (10, 1 << 36)])
def test_a_greeting_is_small(address: str, body_bytes: int, payload_bytes: int) -> None:
    """Nobody who is not known yet makes the server wait for more, or keep it."""
    with _ungreeted(address) as stream:
        stream._socket.sendall(pack_header(body_bytes, payload_bytes, is_shared=False))
        answer = decode_reply(stream.receive()[0])
        assert isinstance(answer, m.Failed)
        assert "greet first" in answer.message


@contextlib.contextmanager
def _ungreeted(address: str) -> Iterator[FramedStream]:
    stream = FramedStream(Address.parse(address).connect())
    memory = stream.receive_file()
    assert memory is not None
    memory.close()
    yield stream
    stream.close()


def test_threads_that_end_leave_no_connections(address: str) -> None:
    """One after the other, more of them than there are places."""
    client = Client(address, Config())
    for _ in range(12):
        thread = threading.Thread(target=lambda: client.request(m.Ping(busy_us=0.0)))
        thread.start()
        thread.join()
        time.sleep(0.05)
    assert len(client._connections) == 1
    client.close()


def test_a_client_outlives_the_thread_that_made_it(address: str) -> None:
    """What it holds on the server stays."""
    made: list[Client] = []

    def make() -> None:
        client = Client(address, Config())
        client.request(m.OpenSession(opened_id="kept", arena_bytes=1 << 20))
        made.append(client)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    time.sleep(0.2)
    made[0].request(m.CloseSession(closed_id="kept"))
    made[0].close()


def test_a_reply_that_nobody_took_is_no_answer_to_the_next_request(address: str) -> None:
    """Whoever interrupts a call asks over a new connection."""
    client = Client(address, Config())
    client.request(m.OpenSession(opened_id="kept", arena_bytes=1 << 20))
    client.send(m.Ping(busy_us=0.0))
    assert isinstance(client.request(m.Checksum(checked_id="kept"))[0], m.Digest)
    client.request(m.CloseSession(closed_id="kept"))
    client.close()


@pytest.mark.parametrize(("wait_s", "sleeps"), [(0.0, False), (1.0, False), (1.0, True)])
def test_what_was_computed_for_a_connection_that_left_is_freed(address: str, wait_s: float, sleeps: bool) -> None:
    """Its client freed it earlier, when there was nothing to free yet; whether it left before the reply or beside it."""
    client = Client(address, Config())
    others = set(threading.enumerate())
    leaving = Connection(Address.parse(address), client.connection().welcome.client_token)
    (serving,) = set(threading.enumerate()) - others
    leaving.send(operator_call("aten.rand.default", [[10_000_000]], m.MAX_OUTPUTS))
    if sleeps and leaving._stream._inbox is not None:
        leaving._stream._inbox.falls_asleep()
    time.sleep(wait_s)
    leaving.close()
    client.request(m.Stats(frees=[m.MAX_OUTPUTS]))
    serving.join(30)
    assert not serving.is_alive(), "the connection that was closed is still served"
    assert client.request(m.Stats())[0].values["client"]["num_tensors"] == 0
    client.close()


def test_what_a_plan_computed_for_a_connection_that_left_is_freed(device: LateDevice, address: str) -> None:
    """Its reply was sent while the device computed, but nobody took it."""
    client = Client(address, Config())
    others = set(threading.enumerate())
    leaving = Connection(Address.parse(address), client.connection().welcome.client_token)
    (serving,) = set(threading.enumerate()) - others
    planned, _ = leaving.request(
        m.MakePlan(
            values=[((4,), (1,), 0, 0, 0), ((4,), (1,), 0, 0, 1)],
            storage_bytes=[16, 16],
            nodes=[("aten.neg.default", [ValueRef(0)], {}, [1], None)],
            outputs=[1],
            num_inputs=1,
            weight_ids=[],
            constants=[],
        )
    )
    assert isinstance(planned, m.Planned)
    execution = m.ExecutePlan(plan_id=planned.plan_id, input_ids=[], passed=[(0, bytes(16))], base_id=m.MAX_OUTPUTS)
    leaving.send(execution)
    assert leaving._stream.wait_spinning(10e6)
    leaving.close()
    assert device.num_announced == 1
    device.ends.set()
    serving.join(30)
    assert not serving.is_alive()
    assert client.request(m.Stats())[0].values["client"]["num_tensors"] == 0
    client.close()


@pytest.mark.parametrize("seed", range(20))
def test_the_server_outlives_whatever_a_client_writes_into_its_mailboxes(address: str, seed: int) -> None:
    """Lengths, numbers and messages at random; another client does not notice."""
    generator = random.Random(seed)
    other, hostile = Client(address, Config()), Connection(Address.parse(address), None)
    shared = hostile._stream.shared
    assert shared is not None
    for _ in range(50):
        with contextlib.suppress(ConnectionFailedError):  # the server had enough
            hostile._stream.wait_spinning(0)
        mailbox = shared.mailbox(of_creator=generator.random() < 0.9)
        start, num_bytes = generator.choice(((0, 8), (8, 24), (64, 16), (128, 200)))
        content = bytes(num_bytes) if generator.random() < 0.2 else generator.randbytes(num_bytes)
        if start == 0 and generator.random() < 0.9:  # the number that the server waits for
            content = generator.randrange(4).to_bytes(8, "little")
        mailbox[start : start + num_bytes] = content
    hostile.close()
    assert isinstance(other.request(m.Ping(busy_us=0.0))[0], m.Done)
    other.close()


def test_connections_that_are_refused_leave_no_descriptors(address: str) -> None:
    """Neither the socket nor the shared memory that came first."""
    others = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        with pytest.raises(ProtocolError, match="does not know this client"):
            Connection(Address.parse(address), "nobody's")
    deadline_s = time.monotonic() + 30
    while len(os.listdir("/proc/self/fd")) > others:  # the server is this process, too
        assert time.monotonic() < deadline_s, "descriptors of refused connections are still open"
        time.sleep(0.01)


def test_a_connection_that_is_opened_while_the_client_closes_is_closed(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would close it later."""
    client = Client(address, Config())
    made: list[Connection] = []

    def connect_slowly(*args: Any) -> Connection:
        made.append(Connection(*args))
        client.close()
        return made[0]

    monkeypatch.setattr(client_module, "Connection", connect_slowly)
    errors: list[Exception] = []

    def call() -> None:
        try:
            client.request(m.Ping(busy_us=0.0))
        except ConnectionFailedError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(30)
    assert "shut down" in str(errors[0])
    assert not client._connections
    with pytest.raises(ConnectionFailedError):
        made[0].request(m.Ping(busy_us=0.0))


def test_one_connection_too_many_is_told_so(address: str) -> None:
    """And there is a place again when another one is closed."""
    held = [Connection(Address.parse(address), None) for _ in range(4)]
    with pytest.raises(ProtocolError, match="as many connections as it takes"):
        Connection(Address.parse(address), None)
    assert isinstance(held[0].request(m.Ping(busy_us=0.0))[0], m.Done)
    held.pop().close()
    deadline_s = time.monotonic() + 30
    while len(held) < 4:
        assert time.monotonic() < deadline_s, "the place of a connection that was closed is not free again"
        with contextlib.suppress(ProtocolError):
            held.append(Connection(Address.parse(address), None))
    for connection in held:
        connection.close()


def test_descriptors_suffice_for_every_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system allows few of them, there are fewer places."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert 3 * listener._max_connections() + 128 <= 1024
