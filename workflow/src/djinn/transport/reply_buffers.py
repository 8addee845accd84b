"""Places in shared memory for results that stay where the server writes them, so that nobody copies them afterwards."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass

from djinn.forks import Forks
from djinn.transport.shared_memory import SharedMemory
from djinn.units import PAGE_BYTES, align_up


@dataclass(slots=True)
class ReplyBuffer:
    """A place for one reply's payload: its offset in shared memory, and its bytes."""

    offset_bytes: int
    view: memoryview


class ReplyBuffers:
    """Hands out the end of a connection's shared memory; used by the connection's thread.

    A place is free again once nobody holds its view, or a tensor over it. Places keep their sizes, because plans return
    results of the same sizes again and again: these come to memory that is committed already. What was held when the
    process forked is never handed out again: the child shares the memory and may still hold it.
    """

    def __init__(self, shared: SharedMemory) -> None:
        self._view = shared.view
        self._num_bytes = shared.num_bytes
        self._first_unused = shared.payload_bytes
        self._offsets_by_size: dict[int, list[int]] = {}
        # Filled in whatever thread lets a view go.
        self._returned: deque[tuple[int, int, int]] = deque()
        # One for each size that was taken twice in a row: places that come once would fill the memory twice as fast.
        self._prepared: dict[int, ReplyBuffer] = {}
        self._last_bytes, self._is_repeated = 0, False
        # One for each place that is held; a finalizer would cost ten times as much.
        self._watchers: dict[int, weakref.ref[memoryview]] = {}

    def take(self, num_bytes: int) -> ReplyBuffer | None:
        """Return a place for `num_bytes`; None if all memory is taken, by places of other sizes perhaps."""
        self._is_repeated, self._last_bytes = num_bytes == self._last_bytes, num_bytes
        place = self._prepared.pop(num_bytes, None) or self._find(num_bytes)
        if place is not None:
            self._watch(place)
        return place

    def prepare(self, num_bytes: int) -> None:
        """Have a place ready for the next one that takes so many bytes, if the last two did and there is memory."""
        if self._is_repeated and num_bytes == self._last_bytes and num_bytes not in self._prepared:
            place = self._find(num_bytes)
            if place is not None:
                self._prepared[num_bytes] = place

    def _find(self, num_bytes: int) -> ReplyBuffer | None:
        while self._returned:
            size, offset, num_forks = self._returned.popleft()
            if num_forks == Forks.count:
                self._offsets_by_size[size].append(offset)
        size = align_up(num_bytes, PAGE_BYTES)
        offsets = self._offsets_by_size.setdefault(size, [])
        if not offsets:
            if self._first_unused + size > self._num_bytes:
                return None
            offsets.append(self._first_unused)
            self._first_unused += size
        offset = offsets.pop()
        return ReplyBuffer(offset, self._view[offset : offset + num_bytes])

    def _watch(self, place: ReplyBuffer) -> None:
        size = align_up(len(place.view), PAGE_BYTES)
        returned, freed = self._returned, (size, place.offset_bytes, Forks.count)
        self._watchers[place.offset_bytes] = weakref.ref(place.view, lambda _: returned.append(freed))
