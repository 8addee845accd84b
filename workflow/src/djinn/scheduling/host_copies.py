"""What the host's copies of sessions take of the pool, and which of them may be dropped: bookkeeping without bytes."""

from __future__ import annotations

from collections.abc import Callable

from djinn.scheduling.sessions import Session


class HostCopies:
    """The copies of one pool; used by one thread at a time.

    Attributes:
        used_bytes: host memory that copies take.
    """

    def __init__(self, pool_bytes: int, forgot: Callable[[Session], None]) -> None:
        """Account for a pool; `forgot` is called with each session whose copy is dropped."""
        self._pool_bytes = pool_bytes
        self._forgot = forgot
        # Copies of sessions that compute or may soon, oldest first: they only save a later transfer.
        self._spare: dict[Session, None] = {}
        self.used_bytes = 0

    def make_room(self, session: Session) -> bool:
        """Take room for what a session uses beyond its copy, from spare copies if need be; false if there is none."""
        self._spare.pop(session, None)
        more_bytes = session.used_bytes - session.copy_bytes
        while self.used_bytes + more_bytes > self._pool_bytes:
            if not self._spare:
                return False
            self.forget(next(iter(self._spare)))
        self.used_bytes += more_bytes
        session.copy_bytes = session.used_bytes
        return True

    def spare(self, session: Session) -> None:
        """Let a session's copy, if it has one, be dropped when the pool is short."""
        if session.has_copy:
            self._spare[session] = None

    def forget(self, session: Session) -> None:
        """Drop a session's copy, if it has one."""
        self._spare.pop(session, None)
        if session.has_copy:
            self.used_bytes -= session.copy_bytes
            session.has_copy, session.copy_bytes = False, 0
            self._forgot(session)

    def check_integrity(self, sessions: list[Session]) -> None:
        """Assert that all copies are accounted for, given every session that is open."""
        copied_bytes = sum(session.copy_bytes for session in sessions)
        assert copied_bytes == self.used_bytes, f"{self.used_bytes} bytes counted, {copied_bytes} copied"
        assert self.used_bytes <= self._pool_bytes, f"{self.used_bytes} bytes exceed the pool"
