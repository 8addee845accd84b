"""Framed messages over one socket, with bounded spinning before blocking.

Waking a blocked process costs 30 to 65 us across cores, spinning 1 to 8; so both ends poll for a short while after
their last message and then sleep in the kernel.
"""

from __future__ import annotations

import array
import math
import os
import select
import socket
import struct
import time
from time import perf_counter_ns

from djinn.errors import ConnectionFailedError, ProtocolError
from djinn.protocol.frames import HEADER_BYTES, FrameHeader, pack_header, unpack_header
from djinn.transport.shared_memory import SharedMemory
from djinn.units import MiB

_FIRST_READ_BYTES = 65_536
_FIRST_PAYLOAD_BYTES = 1 << 20
# Whoever has not greeted yet may be anybody.
MAX_GREETING_BYTES = 4_096


class FramedStream:
    """Sends and receives (message body, payload) pairs; used by one thread at a time.

    If `patience_s` is given, a message has to be whole so many seconds after it began, and a second more for each MiB of
    it. It may begin when it likes; but until `is_greeted` the time runs from the start, and messages have to be small.
    """

    def __init__(self, connection: socket.socket, patience_s: float | None = None) -> None:
        self._socket = connection
        self._patience_s = patience_s
        self._deadline_s = self._greeting_deadline_s = self._from_now_s()
        self.is_greeted = False
        if patience_s is not None:
            # Reads that find nothing return after that time, so that the deadline is looked at.
            interval = struct.pack("2l", int(patience_s), int(patience_s % 1 * 1e6))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)
        self._buffer = bytearray(_FIRST_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._num_buffered = 0
        self._num_received = 0
        self.shared: SharedMemory | None = None

    def send(self, body: bytes, payload: memoryview | bytes = b"", *, offset_bytes: int = 0) -> None:
        """Send one message; a payload goes through shared memory where both ends map some.

        The last payload received is void from now on, but for one that came to an offset.

        Args:
            body: the message.
            payload: tensor bytes.
            offset_bytes: where in shared memory the peer wants them; elsewhere than at its start they stay there.

        Raises:
            ConnectionFailedError: the peer is gone.
            ProtocolError: a message or payload over the caps, or an offset outside the shared memory.
        """
        if self.shared is not None:
            self.shared.trim(self._num_received)
            self._num_received = 0
        num_bytes = len(payload)
        is_shared = self.shared is not None and 0 < num_bytes <= self._room(offset_bytes)
        header = pack_header(len(body), num_bytes, is_shared=is_shared, payload_offset=offset_bytes if is_shared else 0)
        try:
            if is_shared:
                assert self.shared is not None
                self.shared.view[offset_bytes : offset_bytes + num_bytes] = payload
                self._socket.sendall(header + body)
            else:
                self._socket.sendall(header + body)
                if num_bytes:
                    self._socket.sendall(payload)
        except OSError as error:
            raise ConnectionFailedError(
                f"The peer closed the connection ({error.strerror or error}); connect again."
            ) from error

    def receive(self) -> tuple[bytes, memoryview]:
        """Receive one message: its body, and its payload, which is valid until the next call.

        Raises:
            ConnectionFailedError: the peer is gone.
            ProtocolError: bytes that are not a frame.
        """
        self._begin()
        self._fill(HEADER_BYTES)
        header = unpack_header(self._view[:HEADER_BYTES])
        streamed_bytes = header.body_bytes + (0 if header.is_shared else header.payload_bytes)
        if self._num_buffered < HEADER_BYTES + streamed_bytes or not self.is_greeted:
            self._allow(header, streamed_bytes)
        body_end = HEADER_BYTES + header.body_bytes
        if body_end > len(self._buffer):
            self._grow(body_end)
        self._fill(body_end)
        body = bytes(self._view[HEADER_BYTES:body_end])
        self._consume(body_end)
        if not header.is_shared:
            return body, self._receive_payload(header.payload_bytes)
        end = header.payload_offset + header.payload_bytes
        if self.shared is None or end > self.shared.num_bytes:
            raise ProtocolError("The peer refers to shared memory that this connection does not have; connect again.")
        self._num_received = 0 if header.payload_offset else header.payload_bytes
        return body, self.shared.view[header.payload_offset : end]

    def wait_spinning(self, spin_us: float) -> bool:
        """Poll for the next message for at most `spin_us` and tell whether it began to arrive.

        Raises:
            ConnectionFailedError: the peer is gone.
        """
        deadline_ns = perf_counter_ns() + int(spin_us * 1000)
        while not self._num_buffered:
            try:
                self._num_buffered = self._read(self._view, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if perf_counter_ns() > deadline_ns:
                    return False
                # The system likes to wake the peer on this very core, where it could not run while this thread polls.
                os.sched_yield()
        return True

    def wait_asleep(self, timeout_us: float) -> bool:
        """Sleep until a message begins to arrive, at most for the timeout, and tell whether one did."""
        if self._num_buffered or timeout_us == float("inf"):
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(timeout_us / 1e3))

    def send_descriptor(self, descriptor: int) -> None:
        """Pass a file descriptor to the peer of a Unix socket."""
        rights = array.array("i", [descriptor])
        self._socket.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    def receive_descriptor(self) -> int | None:
        """Take the file descriptor that the peer passes next; None if a message comes instead, or nothing any more."""
        first, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1)
        if descriptors:
            return descriptors[0]
        self._buffer[: len(first)] = first
        self._num_buffered = len(first)
        return None

    def close(self) -> None:
        """Close the socket and unmap the shared memory."""
        self._socket.close()
        if self.shared is not None:
            self.shared.close()

    def _room(self, offset_bytes: int) -> int:
        """Return how many bytes of payload the shared memory has room for at an offset; raises as `send` does."""
        assert self.shared is not None, "there is no shared memory"
        if not offset_bytes:
            return self.shared.payload_bytes
        if not self.shared.payload_bytes <= offset_bytes < self.shared.num_bytes:
            raise ProtocolError(
                f"A reply was wanted at byte {offset_bytes} of shared memory, where replies have bytes "
                f"{self.shared.payload_bytes} to {self.shared.num_bytes}; connect again."
            )
        return self.shared.num_bytes - offset_bytes

    def _fill(self, num_bytes: int) -> None:
        while self._num_buffered < num_bytes:
            self._num_buffered += self._read_on(self._view[self._num_buffered :])

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

    def _consume(self, num_bytes: int) -> None:
        rest = self._num_buffered - num_bytes
        if rest:
            self._view[:rest] = bytes(self._view[num_bytes : self._num_buffered])
        self._num_buffered = rest

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

    def _grow(self, num_bytes: int) -> None:
        grown = bytearray(num_bytes)
        grown[: self._num_buffered] = self._view[: self._num_buffered]
        self._buffer, self._view = grown, memoryview(grown)

    def _receive_payload(self, num_bytes: int) -> memoryview:
        """Receive a payload into memory that grows with what arrives: what is announced may never come."""
        received = min(self._num_buffered, num_bytes)
        payload = bytearray(self._view[:received])
        self._consume(received)
        while received < num_bytes:
            if received == len(payload):
                payload.extend(bytes(min(num_bytes - received, max(received, _FIRST_PAYLOAD_BYTES))))
            with memoryview(payload) as view:
                received += self._read_on(view[received:])
        return memoryview(payload)
