"""A bounded cache with least-recently-used eviction, counters and an off switch."""

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
        on_evict: Callable[[Entry], None] | None = None,
        on_clear: Callable[[], None] | None = None,
    ) -> None:
        self.enabled = True
        self.hits = self.misses = self.bypassed = self.evictions = 0
        self._max_entries = max_entries
        self._on_evict = on_evict
        self._on_clear = on_clear
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Entry | None:
        """Look a plan up; None counts as a miss, or as bypassed while the cache is off."""
        if not self.enabled:
            self.bypassed += 1
            return None
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                self.misses += 1
                return None
            self._entries.move_to_end(key)
            self.hits += 1
            return entry

    def put(self, key: Hashable, entry: Entry) -> None:
        """Keep a plan, dropping the least recently used ones beyond the bound; nothing is kept while off."""
        if not self.enabled:
            return
        dropped: list[Entry] = []
        with self._lock:
            replaced = self._entries.pop(key, None)
            if replaced is not None:
                dropped.append(replaced)
            self._entries[key] = entry
            while len(self._entries) > self._max_entries:
                dropped.append(self._entries.popitem(last=False)[1])
                self.evictions += 1
        self._tell(dropped)

    def configure(self, max_entries: int, *, enabled: bool) -> None:
        """Set the bound and the switch; entries beyond a smaller bound go at the next `put`."""
        self._max_entries = max_entries
        self.enabled = enabled

    def discard(self, key: Hashable) -> None:
        """Forget one plan, because it turned out to be stale."""
        with self._lock:
            entry = self._entries.pop(key, None)
        if entry is not None:
            self._tell([entry])

    def clear(self) -> None:
        """Forget every plan, so that the next call of each module is a true miss; counters stay."""
        with self._lock:
            dropped = list(self._entries.values())
            self._entries.clear()
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
        }

    def _tell(self, dropped: list[Entry]) -> None:
        if self._on_evict is not None:
            for entry in dropped:
                self._on_evict(entry)
