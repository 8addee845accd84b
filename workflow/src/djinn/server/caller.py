"""Whom an execution is for: it waits for that caller's word and leaves its result, and word of its end, where they are wanted."""

from __future__ import annotations

import msgspec

from djinn.errors import WithdrawnError
from djinn.protocol import messages as m
from djinn.transport.shared_memory import Place
from djinn.transport.stream import FramedStream

# A client looks at a module for about as long as this server prepares the call; to wait much longer would keep others waiting.
MAX_UNCONFIRMED_US = 200.0


class Caller(msgspec.Struct, eq=False):
    """Nobody who says, hears or wants anything before the execution has ended."""

    def await_confirmation(self) -> None:
        """Return when the execution may do what could be seen.

        Raises:
            WithdrawnError: it may not.
        """

    def place_of_result(self, num_bytes: int) -> Place | None:
        """Return where so many bytes of its first result are wanted; None for nowhere that both see."""
        return None

    def place_of_end(self) -> tuple[Place, int] | None:
        """Return the mailbox and the number by which a device can say that the execution has ended; None if nobody looks."""
        return None


class RemoteCaller(Caller):
    """The client that sent one request, by way of the connection that it came through, if that can do any of this.

    Attributes:
        stream: the connection.
        request: the request.
        hears_end: whether the reply may be sent before the execution has ended.
    """

    stream: FramedStream | None
    request: m.ExecutePlan
    hears_end: bool

    def await_confirmation(self) -> None:
        """Wait for the client's word on a provisional call, which is not worth waiting for long."""
        stream = self.stream
        if self.request.is_provisional and (stream is None or not stream.await_confirmation(MAX_UNCONFIRMED_US)):
            raise WithdrawnError("A provisional call was not confirmed in time; send it again, as a final one.")

    def place_of_result(self, num_bytes: int) -> Place | None:
        """Return the place that the client said, if it can stay there."""
        return None if self.stream is None else self.stream.place(self.request.reply_offset, num_bytes)

    def place_of_end(self) -> tuple[Place, int] | None:
        """Return where the client looks while it polls."""
        return self.stream.end_of_next() if self.stream is not None and self.hears_end else None
