"""The host pool: bytes of evicted sessions, and the links that carry them there and back."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from djinn.errors import OutOfMemoryError
from djinn.memory.arena import Arena
from djinn.memory.region import Region


class Link:
    """One direction between device and host: one transfer at a time, at most at the stated bandwidth."""

    def __init__(self, bandwidth_gb_per_s: float | None, wait: Callable[[float], None] = time.sleep) -> None:
        self._bandwidth_gb_per_s = bandwidth_gb_per_s
        self._wait = wait
        self._lock = threading.Lock()
        self.num_transfers = 0
        self.moved_bytes = 0
        self.busy_us = 0.0

    def move(self, destination: torch.Tensor, source: torch.Tensor) -> None:
        """Copy bytes; where the copy is faster than the stated bandwidth, wait for the difference."""
        with self._lock:
            start_ns = time.perf_counter_ns()
            destination.copy_(source)
            if self._bandwidth_gb_per_s is not None:
                due_s = source.nbytes / (self._bandwidth_gb_per_s * 1e9)
                remaining_s = due_s - (time.perf_counter_ns() - start_ns) / 1e9
                if remaining_s > 0:
                    self._wait(remaining_s)
            self.busy_us += (time.perf_counter_ns() - start_ns) / 1e3
            self.moved_bytes += source.nbytes
            self.num_transfers += 1


@dataclass(slots=True)
class SwappedArena:
    """The bytes of an evicted arena, up to its high-water mark."""

    data: torch.Tensor


class SwapPool:
    """Holds what evicted sessions stored, within a capacity."""

    def __init__(self, region: Region, capacity_bytes: int, bandwidth_gb_per_s: float | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self.outward = Link(bandwidth_gb_per_s)
        self.inward = Link(bandwidth_gb_per_s)
        self._region = region
        self._swapped: dict[str, SwappedArena] = {}
        self._lock = threading.Lock()

    def has_room(self, num_bytes: int) -> bool:
        """Tell whether an eviction of `num_bytes` would fit."""
        return self.used_bytes + num_bytes <= self.capacity_bytes

    def write_back(self, arena: Arena) -> None:
        """Copy an arena's used bytes out and return its pages.

        Raises:
            OutOfMemoryError: the pool is full; the arena stays as it was.
        """
        num_bytes = arena.high_water_bytes
        with self._lock:
            if not self.has_room(num_bytes):
                raise OutOfMemoryError(
                    f"Session {arena.session_id!r} cannot be evicted: its {num_bytes} bytes do not fit the host pool, which holds "
                    f"{self.used_bytes} of {self.capacity_bytes} bytes; raise GENIE_HOST_POOL_MB."
                )
            self.used_bytes += num_bytes
        data = torch.empty(num_bytes, dtype=torch.uint8)
        if num_bytes:
            self.outward.move(data, self._region.bytes_view(arena.offset_bytes, num_bytes))
        self._swapped[arena.session_id] = SwappedArena(data)
        self._region.discard(arena.offset_bytes, arena.arena_bytes)

    def restore(self, arena: Arena) -> None:
        """Copy an evicted arena's bytes back to where they were."""
        data = self._swapped[arena.session_id].data
        if data.nbytes:
            self.inward.move(self._region.bytes_view(arena.offset_bytes, data.nbytes), data)
        self.forget(arena.session_id)

    def forget(self, session_id: str) -> None:
        """Drop a session's bytes, if the pool holds any."""
        swapped = self._swapped.pop(session_id, None)
        if swapped is not None:
            with self._lock:
                self.used_bytes -= swapped.data.nbytes

    def checksum(self, arena: Arena) -> str:
        """Return the digest of an arena's used bytes, wherever they are."""
        swapped = self._swapped.get(arena.session_id)
        data = self._region.bytes_view(arena.offset_bytes, arena.high_water_bytes) if swapped is None else swapped.data
        return hashlib.blake2b(data.numpy().data, digest_size=16).hexdigest()
