"""The host pool's memory: what the last owner left in it comes back in nobody's arena."""

from __future__ import annotations

import torch

from djinn.core import TensorMeta
from djinn.memory.arena import Arena
from djinn.memory.host_pool import HostPool
from djinn.memory.host_region import HostRegion
from djinn.scheduling.swap_pool import SwapPool
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
