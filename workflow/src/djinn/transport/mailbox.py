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

A message may announce that a device will do something, which ends when the device itself writes the message's number behind
the mailbox's own words: so the receiver sees it without the sender, which rings all the same for one that sleeps.
"""

from __future__ import annotations

import platform
import struct
import threading
from typing import NamedTuple

from djinn.errors import ProtocolError

MAILBOX_BYTES = 16_384
IS_SUPPORTED = platform.machine() in ("x86_64", "AMD64")

# Each end writes to a cache line of its own: the sender what is here and how many messages it sent, whatever their way,
# and which of them it confirmed or withdrew last, the receiver how many it took and whether it is awake. A forked process
# that takes over finds all of it here. The third line is the device's, with the last message whose announcement it fulfilled.
_NUMBER, _SENT, _CONFIRMED, _WITHDRAWN, _TAKEN, _AWAKE, _ENDED = 0, 4, 5, 6, 8, 9, 16
_LENGTHS = struct.Struct("QQQ")
_pack_lengths, _unpack_lengths = _LENGTHS.pack_into, _LENGTHS.unpack_from
_LENGTHS_AT, _BODY_AT = 8, 192
# Where in a mailbox the device writes.
ENDED_AT_BYTES = _ENDED * 8
MAX_BODY_BYTES = MAILBOX_BYTES - _BODY_AT
# Stands for the offset of a payload that follows its message.
ENCLOSED = 2**64 - 1
# The peer may have written anything.
_LAST_NUMBER = 2**64 - 1


class Elsewhere(NamedTuple):
    """Where in shared memory a payload is, that its message does not enclose."""

    num_bytes: int
    offset_bytes: int


class _Mailbox:
    """One end of a mailbox; used by one thread."""

    __slots__ = ("_fence", "_memory", "_words")

    def __init__(self, memory: memoryview) -> None:
        """Use `MAILBOX_BYTES` of shared memory, zero at first."""
        self._memory = memory
        self._words = memory[:_BODY_AT].cast("Q")
        # Releasing a lock is a locked instruction: what was written before is seen before anything is read after it.
        self._fence = threading.Lock()


class Outbox(_Mailbox):
    """The sender's end."""

    __slots__ = ()

    @property
    def is_peer_awake(self) -> bool:
        """Whether the receiver looks here."""
        return self._words[_AWAKE] != 0

    @property
    def has_ended(self) -> bool:
        """Whether a device has done what the last message announced, which the receiver can see from then on."""
        return self._words[_ENDED] == self._words[_SENT]

    @property
    def is_all_taken(self) -> bool:
        """Whether the receiver has taken every message."""
        return self._words[_TAKEN] == self._words[_SENT]

    @property
    def next_number(self) -> int:
        """Number of the message that is sent next, be it here or through the socket."""
        return _after(self._words[_SENT])

    def count(self) -> None:
        """Note a message that takes another way."""
        self._words[_SENT] = _after(self._words[_SENT])

    def confirm(self) -> None:
        """Let the receiver carry out the last message, which was sent provisionally."""
        self._words[_CONFIRMED] = self._words[_SENT]

    def withdraw(self) -> None:
        """Let the receiver drop it."""
        self._words[_WITHDRAWN] = self._words[_SENT]

    def put(self, content: bytes, payload_bytes: int, payload_offset: int) -> bool | None:
        """Leave the next message here for a receiver that is awake.

        Args:
            content: the message, and behind it an enclosed payload.
            payload_bytes: length of its payload.
            payload_offset: where that is in shared memory, or ENCLOSED.

        Returns:
            Whether the receiver is still awake, otherwise it has to be rung; None if the message has to take another way.
        """
        words, memory, num_bytes = self._words, self._memory, len(content)
        sent = words[_SENT]
        if not words[_AWAKE] or words[_TAKEN] != sent or num_bytes > MAX_BODY_BYTES:
            return None
        memory[_BODY_AT : _BODY_AT + num_bytes] = content
        _pack_lengths(memory, _LENGTHS_AT, num_bytes, payload_bytes, payload_offset)
        words[_SENT] = words[_NUMBER] = (sent + 1) & _LAST_NUMBER
        # An interrupt between the two leaves it taken, which the next release mends.
        self._fence.acquire(False)
        self._fence.release()
        return words[_AWAKE] != 0


class Inbox(_Mailbox):
    """The receiver's end."""

    __slots__ = ()

    def wake(self) -> None:
        """Say that this end will look here before it sleeps."""
        self._words[_AWAKE] = 1

    def falls_asleep(self, *, awaits_end: bool = False) -> bool:
        """Say that only the socket wakes this end from now on, and tell whether that was said.

        It is not if the next message is here, or with `awaits_end` what the last one announced has ended.
        """
        self._words[_AWAKE] = 0
        self._fence.acquire(False)
        self._fence.release()
        if self.has_next() or (awaits_end and self.has_ended()):
            self.wake()
            return False
        return True

    def has_next(self) -> bool:
        """Tell whether the next message is here."""
        words = self._words
        return words[_NUMBER] == words[_TAKEN] + 1

    def has_ended(self) -> bool:
        """Tell whether a device has done what the last message announced."""
        words = self._words
        return words[_ENDED] == words[_TAKEN]

    def watch(self, num_looks: int, *, awaits_end: bool = False) -> bool:
        """Tell whether the next message is here or comes while this looks so many times, twenty in a microsecond.

        With `awaits_end` it looks for the end of what the last message announced instead.
        """
        words = self._words
        place, number = (_ENDED, words[_TAKEN]) if awaits_end else (_NUMBER, words[_TAKEN] + 1)
        for _ in range(num_looks):
            if words[place] == number:
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

    def take(self) -> tuple[bytes, bytes | Elsewhere] | None:
        """Return the next message and its payload, or where that is; None if it is not here.

        Raises:
            ProtocolError: a length that a mailbox does not hold.
        """
        words, memory = self._words, self._memory
        taken = words[_TAKEN]
        if words[_NUMBER] != taken + 1:
            return None
        num_bytes, payload_bytes, payload_offset = _unpack_lengths(memory, _LENGTHS_AT)
        if num_bytes > MAX_BODY_BYTES:
            raise ProtocolError(f"A mailbox of {MAX_BODY_BYTES} bytes is said to hold {num_bytes}; connect again.")
        end = split = _BODY_AT + num_bytes
        payload: bytes | Elsewhere = b""
        if payload_bytes:
            if payload_offset == ENCLOSED and payload_bytes <= num_bytes:
                split = end - payload_bytes
                payload = memory[split:end].tobytes()
            else:
                payload = Elsewhere(payload_bytes, payload_offset)
        body = memory[_BODY_AT:split].tobytes()
        words[_TAKEN] = taken + 1
        return body, payload


def _after(number: int) -> int:
    return (number + 1) & _LAST_NUMBER
