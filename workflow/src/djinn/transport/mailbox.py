"""A place in shared memory for one small message, which a receiver that is awake finds without asking the system.

A socket takes a system call for every message and for every look whether there is one, in code that a computation has
just driven out of the caches. Memory takes none, but nobody is woken by it. So a receiver says when it sleeps, a sender
uses the mailbox of one that is awake, and rings through the socket for one that fell asleep at that moment:

    sender                                   receiver
    writes the message, then its number      says that it sleeps
    fence                                    fence
    looks whether the receiver is awake      looks for the message
    rings if it is not                       sleeps, until something comes through the socket

Whichever fence comes first, one of the two sees what the other wrote: no message is left lying. A receiver that is rung
for a message that it has taken already takes no notice. Elsewhere than on x86 other cores may see words in another order
than they were written in, which Python has no means against; messages keep to the socket there.
"""

from __future__ import annotations

import platform
import struct
import threading

from djinn.errors import ProtocolError

MAILBOX_BYTES = 16_384
IS_SUPPORTED = platform.machine() in ("x86_64", "AMD64")

# Each end writes to a cache line of its own: the sender what is here and how many messages it sent, whatever their way,
# and which of them it confirmed or withdrew last, the receiver how many it took and whether it is awake. A forked process
# that takes over finds all of it here.
_NUMBER, _SENT, _CONFIRMED, _WITHDRAWN, _TAKEN, _AWAKE = 0, 4, 5, 6, 8, 9
_LENGTHS = struct.Struct("QQQ")
_LENGTHS_AT, _BODY_AT = 8, 128
MAX_BODY_BYTES = MAILBOX_BYTES - _BODY_AT
# Stands for the offset of a payload that is the end of its message's body.
ENCLOSED = 2**64 - 1
# The peer may have written anything.
_LAST_NUMBER = 2**64 - 1


class _Mailbox:
    """One end of a mailbox; used by one thread."""

    __slots__ = ("_fence", "_memory", "_words")

    def __init__(self, memory: memoryview) -> None:
        """Use `MAILBOX_BYTES` of shared memory, zero at first."""
        self._memory = memory
        self._words = memory[:_BODY_AT].cast("Q")
        # Taking a free lock is a locked instruction: what was written before is seen before anything is read after it.
        self._fence = threading.Lock()


class Outbox(_Mailbox):
    """The sender's end."""

    __slots__ = ()

    @property
    def is_peer_awake(self) -> bool:
        """Whether the receiver looks here."""
        return self._words[_AWAKE] != 0

    @property
    def is_all_taken(self) -> bool:
        """Whether the receiver has taken every message."""
        return self._words[_TAKEN] == self._words[_SENT]

    def count(self) -> None:
        """Note a message that takes another way."""
        self._words[_SENT] = _after(self._words[_SENT])

    def confirm(self) -> None:
        """Let the receiver carry out the last message, which was sent provisionally."""
        self._words[_CONFIRMED] = self._words[_SENT]

    def withdraw(self) -> None:
        """Let the receiver drop it."""
        self._words[_WITHDRAWN] = self._words[_SENT]

    def put(self, body: bytes, payload_bytes: int, payload_offset: int) -> bool | None:
        """Leave the next message here for a receiver that is awake.

        Args:
            body: the message.
            payload_bytes: length of its payload, which is in shared memory.
            payload_offset: where there, or ENCLOSED.

        Returns:
            Whether the receiver is still awake, otherwise it has to be rung; None if the message has to take another way.
        """
        return self._publish(len(body), payload_bytes, payload_offset) if self.write(body) else None

    def write(self, body: bytes) -> bool:
        """Write a message where the next one will lie, and tell whether `put` would have left it here.

        Nobody sees it before `put_written`, or at all if another message is sent instead.
        """
        words, num_bytes = self._words, len(body)
        if not words[_AWAKE] or words[_TAKEN] != words[_SENT] or num_bytes > MAX_BODY_BYTES:
            return False
        self._memory[_BODY_AT : _BODY_AT + num_bytes] = body
        return True

    def put_written(self, num_bytes: int, payload_bytes: int, payload_offset: int, last_bytes: bytes = b"") -> bool:
        """Leave here what was written, so many bytes that end with `last_bytes` now; returns as `put` does, but never None."""
        end = _BODY_AT + num_bytes
        self._memory[end - len(last_bytes) : end] = last_bytes
        return self._publish(num_bytes, payload_bytes, payload_offset)

    def _publish(self, num_bytes: int, payload_bytes: int, payload_offset: int) -> bool:
        words = self._words
        _LENGTHS.pack_into(self._memory, _LENGTHS_AT, num_bytes, payload_bytes, payload_offset)
        sent = words[_SENT]
        words[_SENT] = words[_NUMBER] = sent + 1 if sent < _LAST_NUMBER else 0
        with self._fence:
            pass
        return words[_AWAKE] != 0


class Inbox(_Mailbox):
    """The receiver's end."""

    __slots__ = ()

    def wake(self) -> None:
        """Say that this end will look here before it sleeps."""
        self._words[_AWAKE] = 1

    def falls_asleep(self) -> bool:
        """Say that only the socket wakes this end from now on, unless the next message is here; tell whether that was said."""
        self._words[_AWAKE] = 0
        with self._fence:
            pass
        if self.has_next():
            self.wake()
            return False
        return True

    def has_next(self) -> bool:
        """Tell whether the next message is here."""
        words = self._words
        return words[_NUMBER] == words[_TAKEN] + 1

    def watch(self, num_looks: int) -> bool:
        """Tell whether the next message is here or comes while this looks so many times, twenty in a microsecond."""
        words = self._words
        number = words[_TAKEN] + 1
        for _ in range(num_looks):
            if words[_NUMBER] == number:
                break
        else:
            return False
        return True

    def is_confirmed(self) -> bool | None:
        """Tell whether the sender has confirmed the last message or withdrawn it; None if neither yet."""
        words = self._words
        taken = words[_TAKEN]
        if words[_CONFIRMED] == taken:
            return True
        return False if words[_WITHDRAWN] == taken else None

    def count(self) -> None:
        """Note a message that was taken from elsewhere."""
        self._words[_TAKEN] = _after(self._words[_TAKEN])

    def take(self) -> tuple[bytes, int, int] | None:
        """Return the next message, and the length and offset of its payload in shared memory; None if it is not here.

        Raises:
            ProtocolError: a length that a mailbox does not hold.
        """
        words = self._words
        taken = words[_TAKEN]
        if words[_NUMBER] != taken + 1:
            return None
        num_bytes, payload_bytes, payload_offset = _LENGTHS.unpack_from(self._memory, _LENGTHS_AT)
        if num_bytes > MAX_BODY_BYTES:
            raise ProtocolError(f"A mailbox of {MAX_BODY_BYTES} bytes is said to hold {num_bytes}; connect again.")
        body = bytes(self._memory[_BODY_AT : _BODY_AT + num_bytes])
        words[_TAKEN] = taken + 1
        return body, payload_bytes, payload_offset


def _after(number: int) -> int:
    return number + 1 if number < _LAST_NUMBER else 0
