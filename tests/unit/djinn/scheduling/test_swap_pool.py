"""The host pool's memory: what the last owner left in it comes back in nobody's arena."""

from __future__ import annotations

import pytest
import torch

from djinn.core import TensorMeta
from djinn.memory.arena import Arena
from djinn.memory.host_pool import HostPool
from djinn.memory.host_region import HostRegion
from djinn.scheduling.swap_pool import Link, SwapPool
from djinn.units import KiB, MiB


class _Reused(HostPool):
    """Hands out the same bytes again and again, with whatever is in them."""

    def __init__(self) -> None:
        self._bytes = torch.full((MiB,), 0xAA, dtype=torch.uint8)

    def allocate(self, num_bytes: int) -> torch.Tensor:
        """Return the first bytes of all."""
        return self._bytes[:num_bytes]


def test_the_next_owner_of_host_memory_reads_its_own_bytes_alone() -> None:
    """Those that it wrote, and zeros wherever else it allocates after its restore."""
    region = HostRegion("Data", MiB)
    pool = SwapPool(region, host=_Reused())
    first, second = Arena("first", 0, 512 * KiB), Arena("second", 512 * KiB, 512 * KiB)
    for arena, used_bytes in ((first, 512 * KiB), (second, 64 * KiB)):
        arena.allocate(used_bytes)
        view = region.tensor(arena.offset_bytes, TensorMeta((used_bytes // 2,), (1,), torch.uint8))
        view.fill_(7 if arena is second else 0xBB)
        pool.copy_out(arena)
        if arena is first:
            pool.forget("first")
    region.discard(512 * KiB, 512 * KiB)
    pool.copy_in(second)
    restored = region.bytes_view(512 * KiB, 512 * KiB)
    assert restored[: 32 * KiB].eq(7).all()
    assert not restored[32 * KiB :].any()


def test_a_link_without_a_stated_bandwidth_is_busy_for_as_long_as_its_copies_say() -> None:
    """On a device's clock, which does not see what the copy waited for."""
    link = Link(None)
    for _ in range(3):
        link.move(lambda: (100, 40.0))
    assert (link.num_transfers, link.moved_bytes, link.busy_us) == (3, 300, 120.0)


def test_a_link_is_busy_for_at_least_as_long_as_its_bandwidth_says() -> None:
    """A quicker copy waits for the rest."""
    waits_s: list[float] = []
    link = Link(1.0, waits_s.append)
    link.move(lambda: (1_000_000_000, 5.0))
    assert waits_s == [pytest.approx(1.0, abs=0.1)]
    assert link.busy_us >= 1e6 * (1.0 - waits_s[0])


def test_a_copy_says_how_long_it_took() -> None:
    """Whole, and of what has changed."""
    region = HostRegion("Data", 64 * MiB)
    arena = Arena("timed", 0, 64 * MiB)
    arena.allocate(64 * MiB)
    region.bytes_view(0, 64 * MiB).fill_(1)
    pool = SwapPool(region)
    pool.copy_out(arena)
    whole_us = pool.outward.busy_us
    pool.copy_out(arena)
    pool.copy_in(arena)
    assert 0 < whole_us < pool.outward.busy_us
    assert pool.inward.busy_us > 0
    assert pool.outward.moved_bytes == 64 * MiB
