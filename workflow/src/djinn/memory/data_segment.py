"""The Data segment: one contiguous arena for each session."""

from __future__ import annotations

import torch

from djinn.core import TensorMeta
from djinn.errors import OutOfMemoryError, SessionClosedError
from djinn.memory.arena import Arena
from djinn.memory.free_list import FreeList
from djinn.memory.host_region import HostRegion
from djinn.memory.variants import MakeRegion
from djinn.units import align_up


class DataSegment:
    """Reserves, commits and releases arenas; reserving touches no page."""

    def __init__(self, capacity_bytes: int, make_region: MakeRegion = HostRegion) -> None:
        self.region = make_region("Data", capacity_bytes)
        self._free_list = FreeList(self.region.capacity_bytes)
        self._arenas: dict[str, Arena] = {}

    @property
    def num_sessions(self) -> int:
        """Arenas that are reserved now."""
        return len(self._arenas)

    def session_ids(self) -> list[str]:
        """Return the sessions that hold an arena, in order of reservation."""
        return list(self._arenas)

    @property
    def reserved_bytes(self) -> int:
        """Bytes of all reserved arenas."""
        return self._free_list.allocated_bytes

    @property
    def used_bytes(self) -> int:
        """Bytes that tensors hold in all arenas."""
        return sum(arena.used_bytes for arena in self._arenas.values())

    def reserve(self, session_id: str, arena_bytes: int) -> Arena:
        """Reserve a contiguous arena, page-aligned.

        Raises:
            ValueError: the session has an arena already, or `arena_bytes` is not positive.
            OutOfMemoryError: no free range of the segment is large enough.
        """
        if session_id in self._arenas:
            raise ValueError(f"Session {session_id!r} has an arena already; release it or choose another session_id.")
        if arena_bytes <= 0:
            raise ValueError(
                f"Session {session_id!r} asked for an arena of {arena_bytes} bytes; ask for at least one byte."
            )
        arena_bytes = align_up(arena_bytes, self.region.page_bytes)
        offset = self._free_list.allocate(arena_bytes)
        if offset is None:
            raise OutOfMemoryError(
                f"Session {session_id!r} asked for an arena of {arena_bytes} bytes, but the Data segment of "
                f"{self.region.capacity_bytes} bytes has {self._free_list.largest_free_bytes} contiguous bytes free; "
                "release sessions, ask for a smaller arena or raise GENIE_DATA_CAPACITY_MB."
            )
        arena = Arena(session_id, offset, arena_bytes)
        self._arenas[session_id] = arena
        return arena

    def arena(self, session_id: str) -> Arena:
        """Return a session's arena.

        Raises:
            SessionClosedError: the session has none.
        """
        arena = self._arenas.get(session_id)
        if arena is None:
            raise SessionClosedError(f"Session {session_id!r} has no arena; open it with djinn.session() first.")
        return arena

    def release(self, session_id: str) -> None:
        """Return a session's arena and its pages; the next owner reads zeros."""
        arena = self.arena(session_id)
        del self._arenas[session_id]
        self.region.discard(arena.offset_bytes, arena.arena_bytes)
        self._free_list.release(arena.offset_bytes, arena.arena_bytes)

    def commit(self, session_id: str) -> int:
        """Make every page of a session's arena resident and return its bytes."""
        arena = self.arena(session_id)
        self.region.commit(arena.offset_bytes, arena.arena_bytes)
        return arena.arena_bytes

    def tensor(self, arena: Arena, offset: int, meta: TensorMeta) -> torch.Tensor:
        """Return the tensor of `meta` at an arena-relative offset."""
        return self.region.tensor(arena.offset_bytes + offset, meta)

    def check_integrity(self) -> None:
        """Assert that arenas are disjoint, inside the segment and add up with the free ranges."""
        self._free_list.check_integrity()
        ranges = [(a.offset_bytes, a.offset_bytes + a.arena_bytes) for a in self._arenas.values()]
        ranges += [(start, start + size) for start, size in self._free_list.free_blocks()]
        end = 0
        for start, next_end in sorted(ranges):
            assert start == end, f"the Data segment has a hole or an overlap at {start}, expected {end}"
            end = next_end
        assert end == self.region.capacity_bytes, (
            f"the Data segment ends at {end} instead of {self.region.capacity_bytes}"
        )
        for arena in self._arenas.values():
            arena.check_integrity()
