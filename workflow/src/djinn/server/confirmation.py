"""What an execution awaits before anything of it can be seen: nothing, or the client's word on a provisional call."""

from __future__ import annotations

from collections.abc import Callable

from djinn.errors import WithdrawnError

# A client looks at a module for about as long as this server prepares the call; to wait much longer would keep others waiting.
MAX_UNCONFIRMED_US = 200.0


def go_on() -> None:
    """Await nothing."""


def confirmed_by(is_confirmed: Callable[[], bool]) -> Callable[[], None]:
    """Return what awaits a word, which `is_confirmed` does not do for long, and raises WithdrawnError without one."""

    def await_confirmation() -> None:
        if not is_confirmed():
            raise WithdrawnError("A provisional call was not confirmed in time; send it again, as a final one.")

    return await_confirmation
