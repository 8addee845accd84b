"""Whom an execution is for: it waits for that caller's word, has its reply written, and leaves its result where it is wanted."""

from __future__ import annotations

from djinn.errors import WithdrawnError
from djinn.protocol import messages as m
from djinn.protocol.codec import encode_unfinished, finish_bytes
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

    def prepare_reply(self, started_ns: int) -> None:
        """Write the reply, as far as it is known; called while a device computes and the host has nothing else to do."""

    def place_of_result(self, num_bytes: int) -> Place | None:
        """Return where so many bytes of its first result are wanted; None for nowhere that both see."""
        return None


class RemoteCaller(Caller):
    """The client that sent one request.

    The reply is written while the device computes. Code that follows a wait runs slowly, and the client waits for it; by then
    only the time is left to be written.

    Attributes:
        restore_us: how long it took to restore the request's sessions.
    """

    __slots__ = ("_request", "_stream", "restore_us")

    def __init__(self, stream: FramedStream | None, request: m.ExecutePlan, restore_us: float) -> None:
        """Use the connection that the request came through, if it can do any of this.

        Args:
            stream: the connection.
            request: the request.
            restore_us: how long it took to restore its sessions.
        """
        self._stream = stream
        self._request = request
        self.restore_us = restore_us

    def await_confirmation(self) -> None:
        """Wait for the client's word on a provisional call, which is not worth waiting for long."""
        stream = self._stream
        if self._request.is_provisional and (stream is None or not stream.await_confirmation(MAX_UNCONFIRMED_US)):
            raise WithdrawnError("A provisional call was not confirmed in time; send it again, as a final one.")

    def prepare_reply(self, started_ns: int) -> None:
        """Write that the request was carried out; nobody sees it before `reply`, or if another reply is sent."""
        if self._stream is not None and self._stream.is_peer_awake:
            self._stream.prepare(encode_unfinished(m.Done(started_ns=started_ns, restore_us=self.restore_us)))

    def place_of_result(self, num_bytes: int) -> Place | None:
        """Return the place that the client said, if it can stay there."""
        return None if self._stream is None else self._stream.place(self._request.reply_offset, num_bytes)

    def reply(self, finished_ns: int, content: memoryview) -> bool:
        """Send the reply that was written, with the bytes of a result; tell whether it was, or has to be in the usual way."""
        stream = self._stream
        if stream is None:
            return False
        return stream.send_prepared(finish_bytes(finished_ns), content, self._request.reply_offset)
