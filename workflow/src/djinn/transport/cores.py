"""Which core a thread runs on, and how a server's thread leaves the one that its client waits on.

When a request wakes the server, the system likes to place its thread on the waker's core. There the two take turns,
while another core idles until the load is next balanced, milliseconds later: measured here, small calls then took three
times as long for as long as a burst of them lasted.
"""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None)
NO_CORE = -1


def current_core() -> int:
    """Return the core that the calling thread runs on, NO_CORE where the system does not say."""
    return int(_libc.sched_getcpu())


class Seat:
    """The cores of one server thread."""

    def __init__(self, num_busy_cores: int) -> None:
        """Note the cores that the thread may use.

        Args:
            num_busy_cores: cores that its computation needs; a thread that needs them all stays where it is.
        """
        self._cores = os.sched_getaffinity(0)
        self._may_move = num_busy_cores < len(self._cores)

    def leave_to_client(self, client_core: int) -> None:
        """Move away if the client runs on this very core; afterwards every core is open again.

        A thread that stayed confined would have to wait for whatever else runs there, while the client sleeps.
        """
        if client_core == NO_CORE or not self._may_move:
            return
        if client_core == current_core() and client_core in self._cores:
            os.sched_setaffinity(0, self._cores - {client_core})
            os.sched_setaffinity(0, self._cores)
