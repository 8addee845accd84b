"""The process-wide runtime: which client is current, and which session each thread is in."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from djinn.client.client import Client
from djinn.config import Config
from djinn.errors import ConnectionFailedError, DjinnError


class _Thread(threading.local):
    session: str | None = None


_lock = threading.Lock()
_client: Client | None = None
_thread = _Thread()


def start(address: str | None, config: Config) -> Client:
    """Make a client current; raises as `Client` does.

    Raises:
        DjinnError: one is current already.
    """
    global _client
    with _lock:
        if _client is not None:
            raise DjinnError("The runtime is initialised already; call djinn.shutdown() before djinn.init().")
        _client = Client(address, config)
        return _client


def stop() -> None:
    """Close the current client, if there is one."""
    global _client
    with _lock:
        client, _client = _client, None
    if client is not None:
        client.close()


def _before_fork() -> None:
    if _client is not None:
        _client.note_write()  # of which the other process would not know, so what came along with calls is good no more


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    if _client is not None:
        _client.part_from_parent()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


def is_running() -> bool:
    """Tell whether a client is current."""
    return _client is not None


def current_client() -> Client:
    """Return the current client.

    Raises:
        ConnectionFailedError: there is none.
    """
    client = _client
    if client is None:
        raise ConnectionFailedError("The runtime is not initialised; call djinn.init() first.")
    return client


def current_session() -> str | None:
    """Return the session that this thread is in."""
    return _thread.session


@contextmanager
def entered_session(session_id: str) -> Iterator[None]:
    """Make a session current for this thread."""
    outer, _thread.session = _thread.session, session_id
    try:
        yield
    finally:
        _thread.session = outer
