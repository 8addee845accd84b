"""A priority queue whose entries may silently become void; memory follows the entries that count, not those pushed."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

_SMALLEST = 64


class LazyHeap(Generic[Item]):
    """Smallest key first; an entry is void once `is_valid(key, item)` is false, and is then skipped."""

    def __init__(self, is_valid: Callable[[float, Item], bool]) -> None:
        self._is_valid = is_valid
        self._entries: list[tuple[float, int, Item]] = []
        self._num_pushed = 0  # breaks ties in order of arrival, so that items need no order
        self._limit = _SMALLEST

    def __len__(self) -> int:
        """Count the entries, void ones included."""
        return len(self._entries)

    def push(self, key: float, item: Item) -> None:
        """Add an entry."""
        self._num_pushed += 1
        heapq.heappush(self._entries, (key, self._num_pushed, item))
        if len(self._entries) > self._limit:
            self._compact()

    def peek(self) -> tuple[float, Item] | None:
        """Return the first entry that counts, None if there is none."""
        entries = self._entries
        while entries:
            key, _, item = entries[0]
            if self._is_valid(key, item):
                return key, item
            heapq.heappop(entries)
        return None

    def pop(self) -> None:
        """Remove the entry that `peek` returned."""
        heapq.heappop(self._entries)

    def _compact(self) -> None:
        """Drop void entries; done when they may be half of all, so at constant cost for each push."""
        self._entries = [entry for entry in self._entries if self._is_valid(entry[0], entry[2])]
        heapq.heapify(self._entries)
        self._limit = max(_SMALLEST, 2 * len(self._entries))
