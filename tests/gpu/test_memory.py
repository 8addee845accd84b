"""Device memory: reserved without commit, committed by the page, zero for the next owner; swaps at the speed of the link."""

from __future__ import annotations

from time import perf_counter

import torch

from djinn.core import TensorMeta
from djinn.memory.arena import Arena
from djinn.memory.cuda_memory import CudaVirtualMemory
from djinn.memory.device_region import DeviceRegion
from djinn.memory.pinned_pool import PinnedPool
from djinn.scheduling.swap_pool import SwapPool
from djinn.units import GiB, MiB


def _region() -> DeviceRegion:
    return DeviceRegion("Data", 1024 * GiB, CudaVirtualMemory())


def test_reserving_more_than_the_device_has_commits_nothing() -> None:
    """A TiB of addresses costs no memory."""
    free_bytes = torch.cuda.mem_get_info()[0]
    region = _region()
    assert region.committed_bytes == 0
    assert torch.cuda.mem_get_info()[0] >= free_bytes - 64 * MiB


def test_discarded_pages_read_zero_again() -> None:
    """And are committed again by the next tensor."""
    region = _region()
    meta = TensorMeta((3 * MiB,), (1,), torch.uint8)
    region.tensor(512 * GiB, meta).fill_(7)
    assert region.committed_bytes == 4 * MiB
    region.discard(512 * GiB, 4 * MiB)
    assert region.committed_bytes == 0
    assert not region.tensor(512 * GiB, meta).any()


def test_swaps_restore_every_byte_at_nearly_the_speed_of_a_pinned_copy() -> None:
    """Both directions, against plain copies between the same kinds of memory in the same process."""
    num_bytes = GiB
    region, arena = _region(), Arena("session", 0, GiB)
    arena.allocate(num_bytes)
    view = region.bytes_view(0, num_bytes)
    view.copy_(torch.randint(0, 256, (num_bytes,), dtype=torch.uint8, device="cuda"))
    expected = view.cpu()
    pool = SwapPool(region, host=PinnedPool(torch.device("cuda", 0), 2 * GiB))
    digest = pool.checksum(arena, is_resident=True)
    for _ in range(4):
        pool.copy_out(arena)
        region.discard(0, num_bytes)
        assert pool.checksum(arena, is_resident=False) == digest
        pool.copy_in(arena)
    assert torch.equal(region.bytes_view(0, num_bytes).cpu(), expected)
    host = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)
    device = torch.empty(num_bytes, dtype=torch.uint8, device="cuda")
    plain_out, plain_in = _gb_per_s(host, device), _gb_per_s(device, host)
    swap_out, swap_in = _link_gb_per_s(pool.outward), _link_gb_per_s(pool.inward)
    print(f"GB/s: swap out {swap_out:.1f}, plain {plain_out:.1f}; swap in {swap_in:.1f}, plain {plain_in:.1f}")
    assert swap_out >= 0.8 * plain_out
    assert swap_in >= 0.8 * plain_in


def test_a_copy_is_timed_by_the_device_without_what_it_waits_for() -> None:
    """A computation that was queued before it delays the copy, and is not counted as part of it."""
    pool = PinnedPool(torch.device("cuda", 0), 256 * MiB)
    source = torch.ones(128 * MiB, dtype=torch.uint8, device="cuda")
    copy = pool.allocate(source.nbytes)
    pool.copy_out(copy, source)
    torch.cuda._sleep(1_000_000_000)  # cycles: half a second
    start_s = perf_counter()
    copy_us = pool.copy_out(copy, source)
    passed_us = 1e6 * (perf_counter() - start_s)
    assert 0 < copy_us < 0.5 * passed_us
    assert copy_us > 1e6 * source.nbytes / 200e9, "no link of this kind moves 200 GB/s"


def _link_gb_per_s(link: object) -> float:
    return float(link.moved_bytes / link.busy_us / 1e3)  # type: ignore[attr-defined]


def _gb_per_s(destination: torch.Tensor, source: torch.Tensor) -> float:
    best_s = float("inf")
    for _ in range(4):
        torch.cuda.synchronize()
        start_s = perf_counter()
        destination.copy_(source, non_blocking=True)
        torch.cuda.synchronize()
        best_s = min(best_s, perf_counter() - start_s)
    return source.nbytes / best_s / 1e9
