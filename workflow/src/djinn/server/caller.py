"""Whom an execution is for: it waits for that caller's word, leaves its result where it is wanted, and may say itself when it ends."""

from __future__ import annotations

from djinn.errors import WithdrawnError
from djinn.protocol import messages as m
from djinn.transport.shared_memory import Place
from djinn.transport.stream import FramedStream

# A client looks at a module for about as long as this server prepares the call; to wait much longer would keep others waiting.
MAX_UNCONFIRMED_US = 200.0


class Caller:
    """Nobody who says, hears or wants anything before the execution has ended."""

    __slots__ = ()

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
    """The client that sent one request."""

    __slots__ = ("_hears_end", "_request", "_stream")

    def __init__(self, stream: FramedStream | None, request: m.ExecutePlan, hears_end: bool) -> None:
        """Use the connection that the request came through, if it can do any of this.

        Args:
            stream: the connection.
            request: the request.
            hears_end: whether the reply may be sent before the execution has ended.
        """
        self._stream = stream
        self._request = request
        self._hears_end = hears_end

    def await_confirmation(self) -> None:
        """Wait for the client's word on a provisional call, which is not worth waiting for long."""
        stream = self._stream
        if self._request.is_provisional and (stream is None or not stream.await_confirmation(MAX_UNCONFIRMED_US)):
            raise WithdrawnError("A provisional call was not confirmed in time; send it again, as a final one.")

    def place_of_result(self, num_bytes: int) -> Place | None:
        """Return the place that the client said, if it can stay there."""
        return None if self._stream is None else self._stream.place(self._request.reply_offset, num_bytes)

    def place_of_end(self) -> tuple[Place, int] | None:
        """Return where the client looks while it polls."""
        return self._stream.end_of_next() if self._stream is not None and self._hears_end else None
