"""A session as policies and the residency see it: no clock, no bytes, no locks."""

from __future__ import annotations

from typing import Any

from djinn.scheduling.states import Event, State, next_state

UNKNOWN_RESUME_S = float("inf")


class Session:
    """One session's state, and what is known of it.

    Attributes:
        session_id: its name.
        num_bytes: of device memory that it takes while it is resident.
        state: where it stands; changed by `step` alone.
        idle_since_s: when its last computation ended, on the driver's clock.
        resume_s: when its client expects to continue; infinity if it did not say.
        used_bytes: of those that hold anything, which a copy has to hold; all of them unless the driver knows better.
        has_copy: whether the host holds a copy of it, current or not.
        copy_bytes: of the host's memory that the copy takes.
        waits_for_memory: whether a request of it waits to be admitted or restored.
        copy_began_s: when the copy that is under way began.
        user: whatever the driver wants to find here.
    """

    __slots__ = (
        "copy_began_s",
        "copy_bytes",
        "has_copy",
        "idle_since_s",
        "num_bytes",
        "resume_s",
        "session_id",
        "state",
        "used_bytes",
        "user",
        "waits_for_memory",
    )

    def __init__(self, session_id: str, num_bytes: int, user: Any = None) -> None:
        self.session_id = session_id
        self.num_bytes = num_bytes
        self.used_bytes = num_bytes
        self.state = State.NEW
        self.idle_since_s = 0.0
        self.resume_s = UNKNOWN_RESUME_S
        self.has_copy = False
        self.copy_bytes = 0
        self.waits_for_memory = False
        self.copy_began_s = 0.0
        self.user = user

    def step(self, event: Event) -> None:
        """Take an event.

        Raises:
            SessionStateError: the state does not allow it.
        """
        self.state = next_state(self.session_id, self.state, event)
