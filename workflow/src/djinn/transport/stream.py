"""Messages over one connection, with bounded spinning before blocking.

Waking a blocked process costs 30 to 65 us across cores, spinning 1 to 8; so both ends poll for a short while after
their last message and then sleep in the kernel. On one host tensor bytes go through shared memory, and so do small
messages to a peer that polls.
"""

from __future__ import annotations

import io
import os
import select
import socket
from time import perf_counter_ns

from djinn.errors import ConnectionFailedError, ProtocolError
from djinn.protocol.frames import pack_header, pack_ring
from djinn.transport.frame_reader import FrameReader
from djinn.transport.mailbox import ENCLOSED, IS_SUPPORTED, Inbox, Outbox
from djinn.transport.shared_memory import KEPT_BYTES, Place, SharedMemory

# While the mailbox is watched, the core is offered to others now and then, and the socket is looked at more rarely still. A
# system call takes as long as ten looks at the mailbox, and what follows it runs slowly.
_LOOKS_A_ROUND, _ROUNDS = 32, 4
# So small a payload is copied along with the message sooner than it is left elsewhere in shared memory, and found there.
MAX_ENCLOSED_BYTES = 3_072
_RING = pack_ring()
_NO_PAYLOAD = memoryview(b"")


class FramedStream:
    """Sends and receives (message body, payload) pairs; used by one thread at a time.

    Attributes:
        shared: the memory that both ends map, if they are on one host.
    """

    def __init__(self, connection: socket.socket, patience_s: float | None = None) -> None:
        """Use a socket; `patience_s` limits how long messages take to arrive, see `FrameReader`."""
        self._socket = connection
        self._reader = FrameReader(connection, patience_s)
        self._num_trimmable = 0
        self.shared: SharedMemory | None = None
        self._inbox: Inbox | None = None
        self._outbox: Outbox | None = None
        self._is_sent = True
        self._num_prepared = 0
        self._place: Place | None = None

    def note_greeting(self) -> None:
        """From now on the peer is known: its messages may begin when they like and be large."""
        self._reader.is_greeted = True

    def open_mailboxes(self, *, is_creator: bool) -> None:
        """Exchange small messages through the shared memory, which one end created, from now on."""
        assert self.shared is not None, "there is no shared memory"
        if IS_SUPPORTED:
            self._inbox = Inbox(self.shared.mailbox(of_creator=is_creator))
            self._outbox = Outbox(self.shared.mailbox(of_creator=not is_creator))
            self._inbox.wake()

    @property
    def is_peer_awake(self) -> bool:
        """Whether the peer polls, as far as this end can tell."""
        return self._outbox is not None and self._outbox.is_peer_awake

    @property
    def is_taken(self) -> bool:
        """Whether the peer has taken the last message, as far as this end can tell."""
        return self._is_sent and (self._outbox is None or self._outbox.is_all_taken)

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
        self._num_prepared = 0
        self._is_sent = False
        outbox, num_bytes, is_awake = self._outbox, len(payload), None
        try:
            if outbox is not None and num_bytes <= MAX_ENCLOSED_BYTES and not (offset_bytes or self._num_trimmable):
                is_awake = outbox.put(body + payload, num_bytes, ENCLOSED)
            if is_awake is None:
                is_awake = self._send_apart(body, payload, offset_bytes)
            if not is_awake:
                self._socket.sendall(_RING)
        except OSError as error:
            raise _closed(error) from error
        self._is_sent = True

    def place(self, offset_bytes: int, num_bytes: int) -> Place | None:
        """Return where the next message's payload, if that is its place's view, need not be copied to; None for nowhere."""
        self._place = None if self.shared is None else self.shared.place(offset_bytes, num_bytes)
        return self._place

    def prepare(self, body: bytes) -> None:
        """Write the next message where the peer will find it, if it can be: then `send_prepared` has less to do."""
        outbox = self._outbox
        self._num_prepared = len(body) if outbox is not None and outbox.write(body) else 0

    def send_prepared(self, last_bytes: bytes, payload: memoryview | bytes = b"", offset_bytes: int = 0) -> bool:
        """Send the message that was prepared, which ends with `last_bytes` now, as `send` does.

        Returns:
            Whether it was sent; if not, `send` sends it, or raises what is in the way.
        """
        outbox, num_prepared, self._num_prepared = self._outbox, self._num_prepared, 0
        if outbox is None or not num_prepared:
            return False
        try:
            if payload and not self._share(payload, offset_bytes):
                return False
        except ProtocolError:
            return False
        self._is_sent = False
        if not outbox.put_written(num_prepared, len(payload), offset_bytes, last_bytes):
            try:
                self._socket.sendall(_RING)
            except OSError:
                # The message cannot be taken back, so none may follow it by any way.
                self._inbox = self._outbox = None
                self._socket.close()
                return False
        self._is_sent = True
        return True

    def take(self) -> tuple[bytes, memoryview] | None:
        """Receive one message if it is in the mailbox; raises and returns as `receive` does, or returns None."""
        inbox = self._inbox
        message = None if inbox is None else inbox.take()
        if message is None:
            return None
        body, payload_bytes, payload_offset = message
        if not payload_bytes:
            return body, _NO_PAYLOAD
        if payload_offset != ENCLOSED or payload_bytes > len(body):
            return body, self._shared_payload(payload_bytes, payload_offset)
        return body[:-payload_bytes], memoryview(bytearray(body[-payload_bytes:]))

    def receive(self) -> tuple[bytes, memoryview]:
        """Receive one message: its body, and its payload, which is valid until the next call.

        Raises:
            ConnectionFailedError: the peer is gone.
            ProtocolError: bytes that are not a frame, or one that was not whole in time.
        """
        inbox, reader = self._inbox, self._reader
        while True:
            message = self.take()
            if message is not None:
                return message
            if inbox is not None and not reader.has_begun and not inbox.falls_asleep():
                continue
            header = reader.read_header()
            if inbox is not None:
                inbox.wake()
            if not header.is_ring:
                break
            reader.skip_header()
        body = reader.read_body(header)
        if header.is_shared:
            payload = self._shared_payload(header.payload_bytes, header.payload_offset)
        else:
            payload = reader.read_payload(header.payload_bytes)
        if inbox is not None:
            inbox.count()
        return body, payload

    def wait_spinning(self, spin_us: float) -> bool:
        """Poll for the next message for at most `spin_us` and tell whether it began to arrive.

        Raises:
            ConnectionFailedError: the peer is gone.
        """
        deadline_ns = perf_counter_ns() + int(spin_us * 1000)
        try:
            while not self._is_in_mailbox() and not self._reader.look():
                if perf_counter_ns() > deadline_ns:
                    return False
                os.sched_yield()
        except ConnectionFailedError:
            if not self._is_in_mailbox():  # where the peer may have left its last message before it closed the socket
                raise
        return True

    def wait_asleep(self, timeout_us: float) -> bool:
        """Sleep until a message begins to arrive, at most for the timeout, and tell whether one did."""
        inbox = self._inbox
        if self._reader.has_begun or timeout_us == float("inf") or (inbox is not None and not inbox.falls_asleep()):
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        try:
            return bool(poll.poll(timeout_us / 1e3))
        finally:
            if inbox is not None:
                inbox.wake()

    def confirm(self) -> None:
        """Let the peer, which shares memory with this end, carry out the last message, which was sent provisionally."""
        outbox = self._outbox
        if outbox is not None:  # another thread has not closed this end
            outbox.confirm()

    def withdraw(self) -> None:
        """Let the peer drop it."""
        outbox = self._outbox
        if outbox is not None:
            outbox.withdraw()

    def await_confirmation(self, timeout_us: float) -> bool:
        """Poll until the peer confirms or withdraws the last message, at most for the timeout, and tell whether it confirmed it."""
        inbox = self._inbox
        if inbox is None:
            return False
        deadline_ns = perf_counter_ns() + int(timeout_us * 1000)
        while (is_confirmed := inbox.is_confirmed()) is None:
            if perf_counter_ns() > deadline_ns:
                return False
            os.sched_yield()
        return is_confirmed

    def send_file(self, file: io.FileIO) -> None:
        """Pass an open file to the peer of a Unix socket; raises ConnectionFailedError if that is gone."""
        try:
            socket.send_fds(self._socket, [b"\0"], [file.fileno()])
        except OSError as error:
            raise _closed(error) from error

    def receive_file(self) -> io.FileIO | None:
        """Take the open file that the peer passes next; None if a message comes instead, or nothing any more.

        Raises as `send_file` does.
        """
        try:
            first, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1)
        except OSError as error:
            raise _closed(error) from error
        if descriptors:
            return io.FileIO(descriptors[0], "r+")
        self._reader.put_first(first)
        return None

    def close(self) -> None:
        """Close the socket and unmap the shared memory."""
        self._inbox = self._outbox = None
        self._socket.close()
        if self.shared is not None:
            self.shared.close()

    def _is_in_mailbox(self) -> bool:
        """Watch the mailbox for some microseconds."""
        inbox = self._inbox
        if inbox is None:
            return False
        for _ in range(_ROUNDS):
            if inbox.watch(_LOOKS_A_ROUND):
                return True
            # The system likes to wake the peer on this very core, where it could not run while this thread polls.
            os.sched_yield()
        return False

    def _share(self, payload: memoryview | bytes, offset_bytes: int) -> bool:
        """Write a payload to the shared memory and tell whether it went there; raises as `send` does."""
        shared = self.shared
        if shared is None:
            return False
        if self._num_trimmable:
            shared.trim(self._num_trimmable)
            self._num_trimmable = 0
        place, self._place = self._place, None
        lies_there = place is not None and payload is place.view and offset_bytes == place.offset_bytes
        return lies_there or shared.write(payload, offset_bytes)

    def _send_apart(self, body: bytes, payload: memoryview | bytes, offset_bytes: int) -> bool:
        """Send a message and its payload by ways of their own, and tell whether the peer need not be rung."""
        is_shared = bool(payload or self._num_trimmable) and self._share(payload, offset_bytes)
        outbox = None if payload and not is_shared else self._outbox
        is_awake = None if outbox is None else outbox.put(body, len(payload), offset_bytes)
        if is_awake is None:
            self._send_streamed(body, payload, offset_bytes if is_shared else None)
        return is_awake is not False

    def _send_streamed(self, body: bytes, payload: memoryview | bytes, payload_offset: int | None) -> None:
        is_shared = payload_offset is not None
        header = pack_header(len(body), len(payload), is_shared=is_shared, payload_offset=payload_offset or 0)
        if self._outbox is not None:
            self._outbox.count()
        self._socket.sendall(header + body)
        if payload and not is_shared:
            self._socket.sendall(payload)

    def _shared_payload(self, payload_bytes: int, payload_offset: int) -> memoryview:
        payload = None if self.shared is None else self.shared.read(payload_bytes, payload_offset)
        if payload is None:
            raise ProtocolError("The peer refers to shared memory that this connection does not have; connect again.")
        self._num_trimmable = payload_bytes if payload_bytes > KEPT_BYTES and not payload_offset else 0
        return payload


def _closed(error: OSError) -> ConnectionFailedError:
    return ConnectionFailedError(f"The peer closed the connection ({error.strerror or error}); connect again.")
