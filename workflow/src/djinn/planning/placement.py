"""Offsets for buffers with known lifetimes: best fit over several greedy orders.

Placing the largest buffer first, each at the lowest gap that no overlapping buffer occupies, is the strategy of
TensorFlow Lite and TorchInductor (Pisarchyk & Lee, "Efficient Memory Management for Deep Neural Net Inference",
2020). Finding the optimum is NP-hard, so a few orders are tried and the lowest peak is kept; no plan can be lower
than the largest sum of bytes that are live at one node.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass

from djinn.planning.lifetimes import Lifetime
from djinn.units import TENSOR_ALIGNMENT_BYTES, align_up


@dataclass(frozen=True, slots=True)
class Placement:
    """Where each storage lies, and how good that is.

    Attributes:
        offsets: storage number to byte offset, aligned for tensors.
        peak_bytes: end of the highest buffer.
        lower_bound_bytes: largest sum of live bytes at any node.
    """

    offsets: dict[int, int]
    peak_bytes: int
    lower_bound_bytes: int


_ORDERS: tuple[Callable[[Lifetime], tuple[int, ...]], ...] = (
    lambda lifetime: (-lifetime.num_bytes, lifetime.first),
    lambda lifetime: (-(lifetime.last - lifetime.first), -lifetime.num_bytes),
    lambda lifetime: (lifetime.first, -lifetime.num_bytes),
    lambda lifetime: (-lifetime.num_bytes * (lifetime.last - lifetime.first + 1), lifetime.first),
)


def place(lifetimes: list[Lifetime]) -> Placement:
    """Assign offsets so that no two buffers that live together overlap."""
    aligned = [
        Lifetime(item.storage, align_up(max(item.num_bytes, 1), TENSOR_ALIGNMENT_BYTES), item.first, item.last)
        for item in lifetimes
    ]
    lower_bound = _largest_live_sum(aligned)
    best: tuple[int, dict[int, int]] | None = None
    for order in _ORDERS:
        offsets, peak = _place_in_order(sorted(aligned, key=order))
        if best is None or peak < best[0]:
            best = (peak, offsets)
        if peak == lower_bound:
            break
    assert best is not None
    return Placement(best[1], best[0], lower_bound)


def _place_in_order(lifetimes: list[Lifetime]) -> tuple[dict[int, int], int]:
    placed: list[tuple[int, int, int, int]] = []  # (offset, end, first, last), by offset
    offsets: dict[int, int] = {}
    peak = 0
    for item in lifetimes:
        offset = _lowest_gap(placed, item)
        offsets[item.storage] = offset
        end = offset + item.num_bytes
        peak = max(peak, end)
        insort(placed, (offset, end, item.first, item.last))
    return offsets, peak


def _lowest_gap(placed: list[tuple[int, int, int, int]], item: Lifetime) -> int:
    offset = 0
    for start, end, first, last in placed:
        if first > item.last or item.first > last:
            continue
        if start - offset >= item.num_bytes:
            break
        offset = max(offset, end)
    return offset


def _largest_live_sum(lifetimes: list[Lifetime]) -> int:
    changes: dict[int, int] = {}
    for item in lifetimes:
        changes[item.first] = changes.get(item.first, 0) + item.num_bytes
        changes[item.last + 1] = changes.get(item.last + 1, 0) - item.num_bytes
    live = largest = 0
    for position in sorted(changes):
        live += changes[position]
        largest = max(largest, live)
    return largest
