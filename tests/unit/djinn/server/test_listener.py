"""Connections as the server sees them: one that takes no replies is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from djinn.client.client import Client
from djinn.client.connection import Connection
from djinn.config import Config
from djinn.errors import ConnectionFailedError
from djinn.protocol import messages as m
from djinn.server import listener
from djinn.server.core import ServerCore
from djinn.transport.address import Address


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where a server listens that waits for a second for its replies to be taken."""
    monkeypatch.setattr(listener, "MAX_SEND_S", 1)
    server = listener.Listener(ServerCore(Config()), Address.parse(f"unix:{tmp_path / 'socket'}"))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield str(server.address)
    server.close()


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
