"""What a connection tells the server beside its requests, and what it bears."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from djinn.client import runtime
from djinn.client.connection import SPIN_US, Connection
from djinn.protocol import messages as m
from djinn.protocol.codec import decode_request
from djinn.transport.cores import NO_CORE
from djinn.transport.stream import FramedStream

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture
def connection() -> Iterator[Connection]:
    """One of its own to the running server."""
    client = runtime.current_client()
    made = Connection(client._address, client._token)
    yield made
    made.close()


@pytest.fixture
def cores(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What its requests tell a server that is awake of the core that they come from, from the next one on."""
    told: list[int] = []
    stream, send = connection._stream, connection._stream.send

    def note(body: bytes, *args: Any) -> None:
        told.append(decode_request(body).client_core)
        send(body, *args)

    monkeypatch.setattr(FramedStream, "is_peer_awake", True)
    monkeypatch.setattr(stream, "send", note)
    connection._num_unplaced = 8
    return told


@pytest.mark.parametrize("expected_us", [0.0, 1e6])
def test_whoever_slept_tells_its_core_with_the_next_request(
    connection: Connection, cores: list[int], monkeypatch: pytest.MonkeyPatch, expected_us: float
) -> None:
    """The server's reply may have woken it on the server's own core, where both would take turns."""
    for has_come in (True, False, True, True):
        monkeypatch.setattr(connection._stream, "wait_spinning", lambda *_, has_come=has_come, **__: has_come)
        monkeypatch.setattr(connection._stream, "wait_asleep", lambda *_, **__: True)
        # Long enough that this thread looks for the reply before it is there, whatever else runs here.
        connection.request(m.Ping(busy_us=20_000.0), expected_us=0.0 if has_come else expected_us)
    assert [core != NO_CORE for core in cores] == [False, False, True, False]


def test_whoever_only_polls_tells_its_core_now_and_then(
    connection: Connection, cores: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs a microsecond, and a thread that never sleeps may be moved too."""
    monkeypatch.setattr(connection._stream, "wait_spinning", lambda *_, **__: True)
    for _ in range(40):
        connection.request(m.Ping(busy_us=0.0), expected_us=SPIN_US / 2)
    assert [number for number, core in enumerate(cores) if core != NO_CORE] == [8, 25]


def test_nothing_is_made_ready_on_a_connection_that_another_thread_closed(connection: Connection) -> None:
    """Whoever waits for a reply hears of that from `receive`."""
    num_bytes = 65_537
    for _ in range(2):
        assert connection.reply_buffer(num_bytes) is not None
    connection.close()
    connection.prepare_reply_buffer(num_bytes)
