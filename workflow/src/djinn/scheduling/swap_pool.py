"""The host pool: copies of sessions' arenas, and the links that carry them there and back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import torch

from djinn.memory.arena import Arena
from djinn.memory.host_pool import HostPool
from djinn.memory.region import Region
from djinn.units import TENSOR_ALIGNMENT_BYTES

_WORDS_PER_BLOCK = TENSOR_ALIGNMENT_BYTES // 8


class Link:
    """One direction between device and host: one transfer at a time, at most at the stated bandwidth.

    Attributes:
        num_transfers: that are complete.
        moved_bytes: by them.
        busy_us: that they took, on the device's clock where it has one; what the stated bandwidth adds is included.
    """

    def __init__(self, bandwidth_gb_per_s: float | None, wait: Callable[[float], None] = time.sleep) -> None:
        self._bandwidth_gb_per_s = bandwidth_gb_per_s
        self._wait = wait
        self._lock = threading.Lock()
        self.num_transfers = 0
        self.moved_bytes = 0
        self.busy_us = 0.0

    def move(self, copy: Callable[[], tuple[int, float]]) -> None:
        """Let `copy` copy and return its bytes and microseconds; if faster than stated, wait for the difference."""
        with self._lock:
            start_ns = time.perf_counter_ns()
            num_bytes, busy_us = copy()
            if self._bandwidth_gb_per_s is not None:
                due_s = num_bytes / (self._bandwidth_gb_per_s * 1e9)
                remaining_s = due_s - (time.perf_counter_ns() - start_ns) / 1e9
                if remaining_s > 0:
                    self._wait(remaining_s)
                    busy_us = (time.perf_counter_ns() - start_ns) / 1e3
            self.busy_us += busy_us
            self.moved_bytes += num_bytes
            self.num_transfers += 1


class SwapPool:
    """Holds copies of arenas up to their high-water marks; how many may be held is for the residency to say."""

    def __init__(self, region: Region, bandwidth_gb_per_s: float | None = None, host: HostPool | None = None) -> None:
        """Make an empty pool.

        Args:
            region: where the arenas lie.
            bandwidth_gb_per_s: of each link, see `Link`.
            host: the memory for copies; None is pageable memory.
        """
        self.outward = Link(bandwidth_gb_per_s)
        self.inward = Link(bandwidth_gb_per_s)
        self._region = region
        self._host = HostPool() if host is None else host
        self._copies: dict[str, torch.Tensor] = {}

    def copy_out(self, arena: Arena) -> None:
        """Bring the host's copy of an arena up to date: whole at first, later only what has changed."""
        source = self._region.bytes_view(arena.offset_bytes, arena.high_water_bytes)
        copy = self._copies.get(arena.session_id)
        is_fresh = copy is None or copy.nbytes != source.nbytes
        if copy is None or is_fresh:
            self.forget(arena.session_id)
            copy = self._copies[arena.session_id] = self._host.allocate(source.nbytes)
        if is_fresh or not self._host.can_compare:
            self.outward.move(lambda: _moved(self._host.copy_out, copy, source))
        else:
            self.outward.move(lambda: _copy_changes(copy, source))

    def copy_in(self, arena: Arena) -> None:
        """Copy an arena's bytes back to where they were."""
        copy = self._copies[arena.session_id]
        self.inward.move(
            lambda: _moved(self._host.copy_in, self._region.bytes_view(arena.offset_bytes, copy.nbytes), copy)
        )

    def forget(self, session_id: str) -> None:
        """Drop a session's copy, if there is one."""
        copy = self._copies.pop(session_id, None)
        if copy is not None:
            self._host.release(copy)

    def checksum(self, arena: Arena, *, is_resident: bool) -> str:
        """Return the digest of an arena's used bytes, where the session's memory is."""
        if is_resident or arena.session_id not in self._copies:
            data = self._region.bytes_view(arena.offset_bytes, arena.high_water_bytes)
        else:
            data = self._copies[arena.session_id]
        return self._host.digest(data)


def _moved(
    copy: Callable[[torch.Tensor, torch.Tensor], float], destination: torch.Tensor, source: torch.Tensor
) -> tuple[int, float]:
    return source.nbytes, copy(destination, source)


def _copy_changes(destination: torch.Tensor, source: torch.Tensor) -> tuple[int, float]:
    """Copy those blocks of a tensor's alignment that differ, and return their bytes and the microseconds that it took."""
    start_ns = time.perf_counter_ns()
    old, new = (data.view(torch.int64).view(-1, _WORDS_PER_BLOCK) for data in (destination, source))
    changed = (old != new).any(dim=1).nonzero().squeeze(1)
    old[changed] = new[changed]
    return len(changed) * TENSOR_ALIGNMENT_BYTES, (time.perf_counter_ns() - start_ns) / 1e3
