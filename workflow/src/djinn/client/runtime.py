"""The process-wide runtime: which client is current, and which session each thread or task is in."""

from __future__ import annotations

import os
import threading
from contextvars import ContextVar

from djinn.client.client import Client
from djinn.config import Config
from djinn.errors import ConnectionFailedError, DjinnError

_lock = threading.Lock()
_client: Client | None = None


class Entered:
    """A session that a thread or task entered, and those that began inside of it with it.

    Attributes:
        session_id: its name.
        is_left: whether whoever entered it has left it.
    """

    __slots__ = ("is_left", "session_id")

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.is_left = False


# Outermost first. Each thread has its own, and each task of an event loop.
_sessions: ContextVar[tuple[Entered, ...]] = ContextVar("djinn_sessions", default=())


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
    """Return the session that this thread or task entered last and has not left."""
    sessions = _sessions.get()
    if not sessions:
        return None
    return next((entered.session_id for entered in reversed(sessions) if not entered.is_left), None)


def enter_session(session_id: str) -> Entered:
    """Make a session current for this thread or task, and for the tasks that it starts."""
    entered = Entered(session_id)
    _sessions.set((*_sessions.get(), entered))
    return entered


def leave_session(entered: Entered) -> None:
    """Leave a session, wherever and though others may have been entered since; tasks that began inside are in it no more."""
    entered.is_left = True
    _sessions.set(tuple(other for other in _sessions.get() if not other.is_left))
