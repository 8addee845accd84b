"""Messages over one connection: on one host tensor bytes go through shared memory, and so do small messages to a peer that polls."""

from __future__ import annotations

import io
import socket

from djinn.errors import ConnectionFailedError
from djinn.protocol.frames import pack_header, pack_ring
from djinn.transport.mailbox import ENCLOSED, IS_SUPPORTED, Inbox, Outbox
from djinn.transport.receiver import Receiver
from djinn.transport.shared_memory import Place

# So small a payload is copied along with the message sooner than it is left elsewhere in shared memory, and found there.
MAX_ENCLOSED_BYTES = 3_072
_RING = pack_ring()


class FramedStream(Receiver):
    """Sends and receives (message body, payload) pairs; used by one thread at a time."""

    def __init__(self, connection: socket.socket, patience_s: float | None = None) -> None:
        """Use a socket; see `Receiver`."""
        super().__init__(connection, patience_s)
        self._outbox: Outbox | None = None
        self._is_sent = True
        self._place: Place | None = None
        self._outbox_place: Place | None = None

    def open_mailboxes(self, *, is_creator: bool) -> None:
        """Exchange small messages through the shared memory, which one end created, from now on."""
        assert self.shared is not None, "there is no shared memory"
        if IS_SUPPORTED:
            self._inbox = Inbox(self.shared.mailbox(of_creator=is_creator))
            self._outbox_place = self.shared.mailbox_place(of_creator=not is_creator)
            self._outbox = Outbox(self._outbox_place.view)
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

    def end_of_next(self) -> tuple[Place, int] | None:
        """Return the mailbox, and the number there, by which a device says that it did what the next message announces.

        None if nothing can be announced, or the peer sleeps already: it would be woken twice.
        """
        outbox, place = self._outbox, self._outbox_place
        if outbox is None or place is None or not outbox.is_peer_awake:
            return None
        return place, outbox.next_number

    @property
    def is_end_told(self) -> bool:
        """Whether the device has told the peer that it did what the last message announced."""
        return self._outbox is not None and self._outbox.has_ended

    def note_end(self) -> None:
        """Wake a peer that sleeps until the device has done what was announced, which it has; raises as `send` does."""
        outbox, inbox = self._outbox, self._inbox
        has_gone_on = inbox is not None and inbox.has_next()  # and sleeps until the reply to its next message
        if outbox is not None and not (has_gone_on or outbox.is_peer_awake):
            try:
                self._socket.sendall(_RING)
            except OSError as error:
                raise _closed(error) from error

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
        # The memory cannot be unmapped while anything views it.
        self._inbox = self._outbox = self._outbox_place = self._place = None
        self._socket.close()
        if self.shared is not None:
            self.shared.close()

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


def _closed(error: OSError) -> ConnectionFailedError:
    return ConnectionFailedError(f"The peer closed the connection ({error.strerror or error}); connect again.")
