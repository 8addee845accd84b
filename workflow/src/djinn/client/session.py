"""Sessions as their users see them: an arena, a scope, phase signals."""

from __future__ import annotations

import itertools
import os
import reprlib
from types import TracebackType
from typing import Any

from djinn.client import runtime
from djinn.client.values import require_name, require_number
from djinn.errors import ConnectionFailedError, SessionClosedError
from djinn.protocol import messages as m
from djinn.units import MiB

_numbers = itertools.count(1)
# What messages can say; how much there is the server knows.
_MAX_ARENA_MB = (1 << 62) // MiB


class Session:
    """A session of this process; a context manager that makes it current for the thread or task.

    Attributes:
        session_id: its name.
        arena_bytes: size of its arena.
    """

    def __init__(self, session_id: str | None = None, arena_mb: int | None = None) -> None:
        """Open a session.

        Args:
            session_id: a name that is not in use; None makes one up.
            arena_mb: size of the arena in MiB; None takes GENIE_VMU_SESSION_ARENA_MB (64).

        Raises:
            TypeError: a name that is no string, or a size that is no number.
            ValueError: the name is in use, or the size is not positive.
            OutOfMemoryError: the arena cannot be admitted.
        """
        self.session_id = _made_up_name() if session_id is None else require_name(session_id, "session_id")
        arena_bytes = None if arena_mb is None else _bytes(arena_mb)
        self._client = runtime.current_client()
        reply, _ = self._client.request(m.OpenSession(opened_id=self.session_id, arena_bytes=arena_bytes))
        self.arena_bytes: int = reply.arena_bytes
        self._entered: list[runtime.Entered] = []
        self.is_closed = False

    def __enter__(self) -> Session:
        """Make the session current for this thread or task."""
        if self.is_closed:
            raise SessionClosedError(f"Session {self.session_id!r} was closed; open a new one with djinn.session().")
        self._entered.append(runtime.enter_session(self.session_id))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the scope and close the session."""
        runtime.leave_session(self._entered.pop())
        try:
            self.close()
        except ConnectionFailedError:
            # A server that is gone has closed the session too; what the body raised says more.
            if error is None:
                raise

    def close(self) -> None:
        """Free the arena; closing twice is harmless."""
        if not self.is_closed:
            self.is_closed = True
            self._client.request(m.CloseSession(closed_id=self.session_id))

    def checksum(self) -> str:
        """Return the digest of the arena's used bytes, resident or not, without moving them.

        Raises:
            SessionClosedError: the session is closed.
        """
        reply, _ = self._client.request(m.Checksum(checked_id=self.session_id))
        digest: str = reply.digest
        return digest


def _made_up_name() -> str:
    """Return a name of this process's own: one that it was forked from has the same sessions."""
    return f"session-{os.getpid()}-{next(_numbers)}"


def _bytes(arena_mb: Any) -> int:
    size_mb = require_number(arena_mb, "arena_mb", "MiB")
    if not 0 < size_mb < _MAX_ARENA_MB:
        raise ValueError(f"An arena of {size_mb} MiB cannot be made; pass a positive size that a machine may have.")
    return int(size_mb * MiB)


def signal_phase(phase: str, session_id: str | None = None, estimated_resume_ms: float | None = None) -> float:
    """Announce a session's phase to the scheduler.

    Args:
        phase: `IO_WAIT` (nothing will be computed for a while) or `COMPUTE` (it continues; returns when resident).
        session_id: None means the current session of the thread or task.
        estimated_resume_ms: how long the wait will probably take.

    Returns:
        The microseconds that bringing the session back into device memory took; 0 where it was there.

    Raises:
        TypeError: an argument of another type.
        ValueError: an unknown phase, an impossible estimate, or no session.
        SessionClosedError: the session is closed.
        OutOfMemoryError: the session cannot be restored in time.
    """
    session_id = runtime.current_session() if session_id is None else session_id
    if session_id is None:
        raise ValueError("No session is current here; signal inside `with djinn.session():` or pass session_id.")
    if not isinstance(phase, str):
        raise TypeError(f"phase is {reprlib.repr(phase)}; pass 'IO_WAIT' or 'COMPUTE'.")
    if estimated_resume_ms is not None:
        estimated_resume_ms = require_number(estimated_resume_ms, "estimated_resume_ms", "milliseconds")
    signal = m.Signal(
        signalled_id=require_name(session_id, "session_id"), phase=phase, estimated_resume_ms=estimated_resume_ms
    )
    reply, _ = runtime.current_client().request(signal)
    restore_us: float = reply.restore_us
    return restore_us
