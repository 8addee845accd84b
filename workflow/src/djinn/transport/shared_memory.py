"""Memory that both ends of a local connection map: for tensor bytes, and behind them a mailbox in each direction."""

from __future__ import annotations

import fcntl
import io
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass

from djinn.errors import ProtocolError
from djinn.transport.mailbox import MAILBOX_BYTES
from djinn.units import PAGE_BYTES, MiB, align_up

SHARED_BYTES = 256 * MiB
# The end of it is for results that stay there, see `ReplyBuffers`.
REPLY_BYTES = 64 * MiB
# Pages that stay committed between payloads, since committing them again costs more than copying them.
KEPT_BYTES = 16 * MiB


@dataclass(slots=True, frozen=True)
class Place:
    """A part of shared memory: its offset, and its bytes."""

    shared: SharedMemory
    offset_bytes: int
    view: memoryview


class SharedMemory:
    """A memory file, sealed against shrinking so that neither end can make the other fault.

    Attributes:
        file: the memory as a file, for the other end.
        num_bytes: its length without the mailboxes.
        payload_bytes: how much of it, from its start, is for payloads that the next message overwrites.
        before_close: called before the memory is unmapped.
    """

    def __init__(self, file: io.FileIO, num_bytes: int) -> None:
        self.file = file
        self.num_bytes = num_bytes
        self.payload_bytes = max(num_bytes - REPLY_BYTES, num_bytes // 2)
        self._map = mmap.mmap(file.fileno(), num_bytes + 2 * MAILBOX_BYTES)
        self.view = memoryview(self._map)
        self.before_close: list[Callable[[], None]] = []

    @classmethod
    def create(cls, num_bytes: int = SHARED_BYTES) -> SharedMemory:
        """Make a memory file; pages are committed when they are first used."""
        file = io.FileIO(os.memfd_create("djinn", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "r+")
        file.truncate(num_bytes + 2 * MAILBOX_BYTES)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        return cls(file, num_bytes)

    def mailbox(self, *, of_creator: bool) -> memoryview:
        """Return the memory of the mailbox that the creator of the memory receives from, or that of the other end."""
        return self.mailbox_place(of_creator=of_creator).view

    def mailbox_place(self, *, of_creator: bool) -> Place:
        """Return the same, for a device that writes there."""
        begin = self.num_bytes if of_creator else self.num_bytes + MAILBOX_BYTES
        return Place(self, begin, self.view[begin : begin + MAILBOX_BYTES])

    def place(self, offset_bytes: int, num_bytes: int) -> Place | None:
        """Return a part, not an empty one, of what is not overwritten by the next message; None if it is not there."""
        if not (num_bytes and self.payload_bytes <= offset_bytes <= self.num_bytes - num_bytes):
            return None
        return Place(self, offset_bytes, self.view[offset_bytes : offset_bytes + num_bytes])

    def write(self, payload: memoryview | bytes, offset_bytes: int) -> bool:
        """Write a payload, not an empty one, to where the other end wants it, and tell whether there is room.

        Raises:
            ProtocolError: no payload may come there.
        """
        num_bytes, room_bytes = len(payload), self.payload_bytes
        if offset_bytes:
            if not self.payload_bytes <= offset_bytes < self.num_bytes:
                raise ProtocolError(
                    f"A reply was wanted at byte {offset_bytes} of shared memory, where replies have bytes "
                    f"{self.payload_bytes} to {self.num_bytes}; connect again."
                )
            room_bytes = self.num_bytes - offset_bytes
        if not 0 < num_bytes <= room_bytes:
            return False
        self.view[offset_bytes : offset_bytes + num_bytes] = payload
        return True

    def read(self, num_bytes: int, offset_bytes: int) -> memoryview | None:
        """Return a payload that the other end wrote; None if it cannot lie there."""
        end = offset_bytes + num_bytes
        return self.view[offset_bytes:end] if end <= self.num_bytes else None

    def trim(self, num_bytes: int) -> None:
        """Give the pages of a large payload of `num_bytes`, which both ends are done with, back to the system."""
        if num_bytes > KEPT_BYTES:
            self._map.madvise(mmap.MADV_REMOVE, KEPT_BYTES, align_up(num_bytes, PAGE_BYTES) - KEPT_BYTES)

    def close(self) -> None:
        """Unmap and close; views that are still held keep their pages."""
        while self.before_close:
            self.before_close.pop()()
        self.file.close()
        try:
            self.view.release()
            self._map.close()
        except BufferError:
            pass  # a caller still reads a payload; the mapping goes with its last view
