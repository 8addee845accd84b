"""The receiving half of a connection, which polls for a bounded time before it blocks.

Waking a blocked process costs 30 to 65 us across cores, polling 1 to 8; so both ends poll for a short while after
their last message and then sleep in the kernel.
"""

from __future__ import annotations

import os
import select
import socket
from time import perf_counter_ns

from djinn.errors import ConnectionFailedError, ProtocolError
from djinn.transport.frame_reader import FrameReader
from djinn.transport.mailbox import Elsewhere, Inbox
from djinn.transport.shared_memory import KEPT_BYTES, SharedMemory

# While the mailbox is watched, the core is offered to others now and then, and the socket is looked at more rarely still. A
# system call takes as long as ten looks at the mailbox, and what follows it runs slowly.
_LOOKS_A_ROUND, _ROUNDS = 32, 4

# A small one is a copy, as bytes; a larger one lies in shared memory, where the next one overwrites it.
Payload = memoryview | bytes


class Receiver:
    """Receives (message body, payload) pairs; used by one thread at a time.

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

    def note_greeting(self) -> None:
        """From now on the peer is known: its messages may begin when they like and be large."""
        self._reader.is_greeted = True

    def take(self) -> tuple[bytes, Payload] | None:
        """Receive one message if it is in the mailbox; raises and returns as `receive` does, or returns None."""
        inbox = self._inbox
        message = None if inbox is None else inbox.take()
        if message is None:
            return None
        body, payload = message
        return body, self._shared_payload(*payload) if isinstance(payload, Elsewhere) else payload

    def receive(self) -> tuple[bytes, Payload]:
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

    def wait_spinning(self, spin_us: float, *, awaits_end: bool = False) -> bool:
        """Poll for at most `spin_us` and tell whether the next message began to arrive; or what was announced ended.

        Raises:
            ConnectionFailedError: the peer is gone.
        """
        deadline_ns = perf_counter_ns() + int(spin_us * 1000)
        try:
            while not self._is_in_mailbox(awaits_end) and not self._reader.look():
                if perf_counter_ns() > deadline_ns:
                    return False
                os.sched_yield()
        except ConnectionFailedError:
            # The peer may have left its last message there before it closed the socket.
            if not self._is_in_mailbox(awaits_end):
                raise
        return True

    def wait_asleep(self, timeout_us: float, *, awaits_end: bool = False) -> bool:
        """Sleep until a message begins to arrive, or what was announced ends, at most for the timeout, and tell whether one did."""
        inbox = self._inbox
        if self._reader.has_begun or timeout_us == float("inf"):
            return True
        if inbox is not None and not inbox.falls_asleep(awaits_end=awaits_end):
            return True
        poll, deadline_ns = select.poll(), perf_counter_ns() + int(timeout_us * 1e3)
        poll.register(self._socket, select.POLLIN)
        try:
            while poll.poll(max(0.0, (deadline_ns - perf_counter_ns()) / 1e6)):
                # Before mailboxes are open nobody rings, and what comes may be a file, which a look at frames would swallow.
                if inbox is None or self._reader.look() or self._is_there(inbox, awaits_end):
                    return True
            return False
        except ConnectionFailedError:  # whoever receives is told so
            return True
        finally:
            if inbox is not None:
                inbox.wake()

    @staticmethod
    def _is_there(inbox: Inbox, awaits_end: bool) -> bool:
        """Tell whether a ring was for something: one may come late, for what was seen before it."""
        return inbox.has_next() or (awaits_end and inbox.has_ended())

    def has_ended(self) -> bool:
        """Tell whether the peer's device has done what the last message announced."""
        return self._inbox is not None and self._inbox.has_ended()

    def await_end(self) -> bool:
        """Sleep until the peer's device has done what the last message announced; False if another message came instead.

        Raises as `receive` does.
        """
        inbox, reader = self._inbox, self._reader
        while not self.has_ended():
            if inbox is None and self._socket.fileno() < 0:  # another thread closed this end
                raise ConnectionFailedError("The connection was closed in mid-call; call djinn.init() again.")
            if inbox is None:
                raise ProtocolError(
                    "The peer announced what no device can report here; connect to one of this version."
                )
            if inbox.has_next():
                return False
            if not reader.has_begun and not inbox.falls_asleep(awaits_end=True):
                continue
            header = reader.read_header()
            inbox.wake()
            if not header.is_ring:
                return False
            reader.skip_header()
        return True

    def await_confirmation(self, timeout_us: float) -> bool:
        """Poll until the peer confirms or withdraws the last message, at most for the timeout, and tell whether it confirmed it."""
        inbox = self._inbox
        if inbox is None:
            return False
        is_confirmed = inbox.is_confirmed()
        if is_confirmed is None:
            deadline_ns = perf_counter_ns() + int(timeout_us * 1000)
            while (is_confirmed := inbox.is_confirmed()) is None and perf_counter_ns() <= deadline_ns:
                os.sched_yield()
        return is_confirmed is True

    def _is_in_mailbox(self, awaits_end: bool) -> bool:
        """Watch the mailbox for some microseconds."""
        inbox = self._inbox
        if inbox is None:
            return False
        for _ in range(_ROUNDS):
            if inbox.watch(_LOOKS_A_ROUND, awaits_end=awaits_end) or (awaits_end and inbox.has_next()):
                return True
            # The system likes to wake the peer on this very core, where it could not run while this thread polls.
            os.sched_yield()
        return False

    def _shared_payload(self, payload_bytes: int, payload_offset: int) -> memoryview:
        payload = None if self.shared is None else self.shared.read(payload_bytes, payload_offset)
        if payload is None:
            raise ProtocolError("The peer refers to shared memory that this connection does not have; connect again.")
        self._num_trimmable = payload_bytes if payload_bytes > KEPT_BYTES and not payload_offset else 0
        return payload
