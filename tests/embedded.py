"""Servers of tests, embedded or in threads of this process, and the audit of their memory after each test."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import djinn
from djinn.client import runtime
from djinn.server.core import ServerCore
from djinn.server.listener import Listener
from djinn.transport.address import Address


@contextlib.contextmanager
def embedded_server(**settings: Any) -> Iterator[None]:
    """Run a server with these settings for as long as the context lasts."""
    djinn.init(config=djinn.Config(**settings))
    try:
        yield
    finally:
        djinn.shutdown()


@pytest.fixture(autouse=True)
def audited() -> Iterator[None]:
    """After every test, the server that it may have left running checks its own memory."""
    yield
    if runtime.is_running():
        with contextlib.suppress(djinn.ConnectionFailedError):  # some tests end their server
            djinn.audit()


@contextlib.contextmanager
def server_here(folder: Path) -> Iterator[str]:
    """A server in threads of this process, and its address; they end with it, once its clients are closed."""
    before = set(threading.enumerate())
    core = ServerCore(djinn.Config())
    listener = Listener(core, Address.parse(f"unix:{folder / 'socket'}"))
    threading.Thread(target=listener.serve, daemon=True).start()
    try:
        yield str(listener.address)
    finally:
        listener._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept, as closing does not
        listener.close()
        core.scheduler.stop()
    # Where there are other threads, what forward counts is not put back.
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive(), f"{thread.name} outlives the server that it belongs to"
