"""A cache bounded by count and by bytes, with least-recently-used eviction, counters and an off switch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class PlanCache(Generic[Entry]):
    """Finished plans by exact key; a hit is proof that nothing was simulated for it.

    Attributes:
        enabled: while False every look-up counts as bypassed and nothing is kept.
        hits, misses, bypassed, evictions: counters since the start.
    """

    def __init__(
        self,
        max_entries: int,
        max_bytes: int,
        on_evict: Callable[[Entry], None] | None = None,
        on_clear: Callable[[], None] | None = None,
    ) -> None:
        self.enabled = True
        self.hits = self.misses = self.bypassed = self.evictions = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._on_evict = on_evict
        self._on_clear = on_clear
        self._entries: OrderedDict[Hashable, tuple[Entry, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Entry | None:
        """Look a plan up; None counts as a miss, or as bypassed while the cache is off."""
        if not self.enabled:
            self.bypassed += 1
            return None
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                self.misses += 1
                return None
            self._entries.move_to_end(key)
            self.hits += 1
            return found[0]

    def note_hit(self, key: Hashable) -> None:
        """Count a plan that its user knew without looking it up; it is kept or not as if that had been done."""
        with self._lock:
            self.hits += 1
            if key in self._entries:
                self._entries.move_to_end(key)

    def peek(self, key: Hashable) -> Entry | None:
        """Look a plan up without counting that; nothing is found while off."""
        if not self.enabled:
            return None
        with self._lock:
            found = self._entries.get(key)
            return None if found is None else found[0]

    def put(self, key: Hashable, entry: Entry, num_bytes: int) -> None:
        """Keep a plan that holds so many bytes; nothing is kept while off.

        The least recently used ones beyond either bound are dropped, but never the new one: it is about to be used.
        """
        if not self.enabled:
            return
        dropped: list[Entry] = []
        with self._lock:
            if key in self._entries:
                dropped.append(self._take(key))
            self._entries[key] = (entry, num_bytes)
            self._held_bytes += num_bytes
            while len(self._entries) > 1 and self._is_over():
                dropped.append(self._take(next(iter(self._entries))))
                self.evictions += 1
        self._tell(dropped)

    def configure(self, max_entries: int, max_bytes: int, *, enabled: bool) -> None:
        """Set the bounds and the switch; entries beyond smaller bounds go at the next `put`."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.enabled = enabled

    def discard(self, key: Hashable, entry: Entry) -> None:
        """Forget one plan, because it turned out to be stale; one that has taken its place since then stays."""
        with self._lock:
            found = self._entries.get(key)
            dropped = [self._take(key)] if found is not None and found[0] is entry else []
        self._tell(dropped)

    def clear(self) -> None:
        """Forget every plan, so that the next call of each module is a true miss; counters stay."""
        with self._lock:
            dropped = [self._take(key) for key in list(self._entries)]
        self._tell(dropped)
        if self._on_clear is not None:
            self._on_clear()

    def counters(self) -> dict[str, int]:
        """Return the counters and the number of entries."""
        return {
            "hits": self.hits,
            "misses": self.misses,
            "bypassed": self.bypassed,
            "evictions": self.evictions,
            "entries": len(self),
            "held_bytes": self._held_bytes,
        }

    def entries(self) -> list[Entry]:
        """Return the plans that are kept, least recently used first."""
        with self._lock:
            return [entry for entry, _ in self._entries.values()]

    def _is_over(self) -> bool:
        return len(self._entries) > self._max_entries or self._held_bytes > self._max_bytes

    def _take(self, key: Hashable) -> Entry:
        entry, num_bytes = self._entries.pop(key)
        self._held_bytes -= num_bytes
        return entry

    def _tell(self, dropped: list[Entry]) -> None:
        if self._on_evict is not None:
            for entry in dropped:
                self._on_evict(entry)
