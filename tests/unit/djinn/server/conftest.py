"""A connection without processes: its two ends in shared memory."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator

import pytest

from djinn.server import core as server_core
from djinn.transport.shared_memory import SharedMemory
from djinn.transport.stream import FramedStream
from late_device import LateDevice

_SHARED_BYTES = 16_384


@pytest.fixture
def ends() -> Iterator[tuple[FramedStream, FramedStream]]:
    """The server's end and the client's, over 16,384 bytes of which the second half is for results that stay."""
    server, client = (FramedStream(end) for end in socket.socketpair())
    server.shared = SharedMemory.create(_SHARED_BYTES)
    client.shared = SharedMemory(io.FileIO(os.dup(server.shared.file.fileno()), "r+"), _SHARED_BYTES)
    server.open_mailboxes(is_creator=True)
    client.open_mailboxes(is_creator=False)
    yield server, client
    server.close()
    client.close()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> LateDevice:
    """What a server computes on that is made from now on."""
    made = LateDevice()
    monkeypatch.setattr(server_core, "make_compute", lambda _: made)
    return made
