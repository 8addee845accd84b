"""Frames as they arrive at a socket: buffered, within deadlines, and in memory that grows with what has come."""

from __future__ import annotations

import math
import socket
import struct
import time

from djinn.errors import ConnectionFailedError, ProtocolError
from djinn.protocol.frames import HEADER_BYTES, FrameHeader, unpack_header
from djinn.units import MiB

_FIRST_READ_BYTES = 65_536
_FIRST_PAYLOAD_BYTES = 1 << 20
# Whoever has not greeted yet may be anybody.
MAX_GREETING_BYTES = 4_096


class FrameReader:
    """Reads headers, bodies and payloads, in that order.

    If `patience_s` is given, a message has to be whole so many seconds after it began, and a second more for each MiB of
    it. It may begin when it likes; but until `is_greeted` the time runs from the start, and messages have to be small.
    """

    def __init__(self, connection: socket.socket, patience_s: float | None) -> None:
        self._socket = connection
        self._patience_s = patience_s
        self._deadline_s = self._from_now_s()
        self.is_greeted = False
        if patience_s is not None:
            # Reads that find nothing return after that time, so that the deadline is looked at.
            interval = struct.pack("2l", int(patience_s), int(patience_s % 1 * 1e6))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)
        self._buffer = bytearray(_FIRST_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._num_buffered = 0

    @property
    def has_begun(self) -> bool:
        """Whether a part of the next message was read already."""
        return self._num_buffered > 0

    def look(self) -> bool:
        """Read what has come and tell whether that is anything but rings, for one who is awake; raises as `read_header` does."""
        if not self._num_buffered:
            try:
                self._num_buffered = self._read(self._view, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
        while self._num_buffered >= HEADER_BYTES and unpack_header(self._view[:HEADER_BYTES]).is_ring:
            self.skip_header()
        return self._num_buffered > 0

    def put_first(self, content: bytes) -> None:
        """Take in what was read from the socket by other means, before anything else was."""
        self._buffer[: len(content)] = content
        self._num_buffered = len(content)

    def read_header(self) -> FrameHeader:
        """Wait for a header and return it; until its body is read, or it is skipped, it stays the next one.

        Raises:
            ConnectionFailedError: the peer is gone.
            ProtocolError: bytes that are not a frame, or one that was not whole in time.
        """
        self._begin()
        self._fill(HEADER_BYTES)
        return unpack_header(self._view[:HEADER_BYTES])

    def skip_header(self) -> None:
        """Go on behind a header that nothing follows."""
        self._consume(HEADER_BYTES)

    def read_body(self, header: FrameHeader) -> bytes:
        """Return the body that follows a header; raises as `read_header` does."""
        streamed_bytes = header.body_bytes + (0 if header.is_shared else header.payload_bytes)
        if self._num_buffered < HEADER_BYTES + streamed_bytes or not self.is_greeted:
            self._allow(header, streamed_bytes)
        body_end = HEADER_BYTES + header.body_bytes
        if body_end > len(self._buffer):
            self._grow(body_end)
        self._fill(body_end)
        body = bytes(self._view[HEADER_BYTES:body_end])
        self._consume(body_end)
        return body

    def read_payload(self, num_bytes: int) -> memoryview:
        """Return the payload that follows a body, in memory that grows with what arrives: what is announced may never come.

        Raises as `read_header` does.
        """
        received = min(self._num_buffered, num_bytes)
        payload = bytearray(self._view[:received])
        self._consume(received)
        while received < num_bytes:
            if received == len(payload):
                payload.extend(bytes(min(num_bytes - received, max(received, _FIRST_PAYLOAD_BYTES))))
            with memoryview(payload) as view:
                received += self._read_on(view[received:])
        return memoryview(payload)

    def _begin(self) -> None:
        """Wait until a message begins, and note when it has to be there."""
        if self.is_greeted:
            self._deadline_s = math.inf
            while not self._num_buffered:
                self._num_buffered = self._read_on(self._view)
            if self._num_buffered < HEADER_BYTES:
                self._deadline_s = self._from_now_s()

    def _allow(self, header: FrameHeader, streamed_bytes: int) -> None:
        """Give a message the time that its length takes; before the greeting, refuse one that is no greeting.

        Raises:
            ProtocolError: it is refused.
        """
        if self._patience_s is None:
            return
        if self.is_greeted:
            self._deadline_s = min(self._deadline_s, self._from_now_s()) + streamed_bytes / MiB
        elif header.payload_bytes or header.body_bytes > MAX_GREETING_BYTES:
            raise ProtocolError(
                f"The peer began with {header.body_bytes} and {header.payload_bytes} bytes instead of a greeting; greet first."
            )

    def _from_now_s(self) -> float:
        return math.inf if self._patience_s is None else time.monotonic() + self._patience_s

    def _fill(self, num_bytes: int) -> None:
        while self._num_buffered < num_bytes:
            self._num_buffered += self._read_on(self._view[self._num_buffered :])

    def _read_on(self, view: memoryview) -> int:
        """Read what has come, or nothing when the interval of reads is over.

        Raises:
            ConnectionFailedError: the peer is gone.
            ProtocolError: the deadline has passed.
        """
        if time.monotonic() > self._deadline_s:
            raise ProtocolError("A message did not arrive whole in time; connect again and send it at once.")
        try:
            return self._read(view, 0)
        except BlockingIOError:
            return 0

    def _read(self, view: memoryview, flags: int) -> int:
        try:
            num_bytes = self._socket.recv_into(view, len(view), flags)
        except BlockingIOError:
            raise
        except OSError as error:
            raise ConnectionFailedError(f"The connection broke ({error.strerror or error}); connect again.") from error
        if num_bytes == 0:
            raise ConnectionFailedError("The peer closed the connection; connect again.")
        return num_bytes

    def _consume(self, num_bytes: int) -> None:
        rest = self._num_buffered - num_bytes
        if rest:
            self._view[:rest] = bytes(self._view[num_bytes : self._num_buffered])
        self._num_buffered = rest

    def _grow(self, num_bytes: int) -> None:
        grown = bytearray(num_bytes)
        grown[: self._num_buffered] = self._view[: self._num_buffered]
        self._buffer, self._view = grown, memoryview(grown)
