"""A device that computes on the host, but brings results and says that it is done when a test wants it to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from djinn.server.binding import Binding
from djinn.server.caller import Caller
from djinn.server.compute import Compute
from djinn.server.results import Results
from djinn.server.slots import Inputs
from djinn.transport.mailbox import ENDED_AT_BYTES


class LateDevice(Compute):
    """Replays as on the host, announced to whoever looks.

    Attributes:
        launched: set once a replay was announced.
        ends: to be set for announced replays to end.
        error: what the device fails with instead.
        later_error: what it fails with right after it ended.
        num_announced: how many replays were announced.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launched, self.ends = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self.later_error: Exception | None = None
        self.num_announced = 0
        self._finish: Callable[[], None] = _nothing

    def replay(self, binding: Binding, inputs: Inputs, caller: Caller, *, fetches_first: bool) -> Results:
        """Run the plan; its first result comes to the caller's place, if that has one, when the replay ends."""
        results = super().replay(binding, inputs, caller, fetches_first=fetches_first)
        content = results.content if fetches_first else None
        place = None if content is None else caller.place_of_result(len(content))
        if content is not None and place is None:
            return results
        end = caller.place_of_end()
        if end is None:
            return results

        def finish() -> None:
            if place is not None and content is not None:
                place.view[:] = content
            words = end[0].view[ENDED_AT_BYTES : ENDED_AT_BYTES + 8]
            words.cast("Q")[0] = end[1]

        if place is not None:
            results.content = place.view
        results.is_announced = True
        self._finish = finish
        self.num_announced += 1
        self.launched.set()
        return results

    def await_results(self) -> None:
        """Wait for the test, then bring the result and say so, or fail."""
        finish, self._finish = self._finish, _nothing
        if finish is _nothing:
            return
        assert self.ends.wait(30), "the test never let the replay end"
        if self.error is not None:
            raise self.error
        finish()
        if self.later_error is not None:
            raise self.later_error


def _nothing(*_: Any) -> None:
    """Do nothing."""
