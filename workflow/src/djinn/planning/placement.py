"""Offsets for buffers with known lifetimes: the best of several heuristics.

Finding the optimum is NP-hard, so several are tried and the lowest peak is kept; no plan can be lower than the largest
sum of bytes that are live at one node. Largest first (TensorFlow Lite, TorchInductor; Pisarchyk & Lee, "Efficient Memory
Management for Deep Neural Net Inference", 2020) reaches that bound on transformers at a tenth of the others' price;
filling a skyline in order of contention comes closest on arbitrary intervals.
"""

from __future__ import annotations

import random
from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, islice

from djinn.planning.lifetimes import Lifetime
from djinn.planning.skyline import fill_skyline
from djinn.units import TENSOR_ALIGNMENT_BYTES, align_up

Packing = tuple[dict[int, int], int]

# Buffers that all attempts on a plan may place together: placing a thousand takes some 15 ms.
_MAX_PLACED = 1_600
_MAX_LARGEST_FIRST = 300


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


def place(lifetimes: list[Lifetime]) -> Placement:
    """Assign offsets so that no two buffers that live together overlap."""
    if not lifetimes:
        return Placement({}, 0, 0)
    aligned = [
        Lifetime(item.storage, align_up(max(item.num_bytes, 1), TENSOR_ALIGNMENT_BYTES), item.first, item.last)
        for item in lifetimes
    ]
    live = _live_bytes(aligned)
    lower_bound = max(live)
    best: Packing | None = None
    for attempt in islice(_attempts(aligned, live), max(1, _MAX_PLACED // len(aligned))):
        packing = attempt()
        if best is None or packing[1] < best[1]:
            best = packing
        if best[1] == lower_bound:
            break
    assert best is not None, "no heuristic was tried"
    return Placement(best[0], best[1], lower_bound)


def _attempts(lifetimes: list[Lifetime], live: list[int]) -> Iterator[Callable[[], Packing]]:
    """Yield heuristics without end, the most promising first."""
    if len(lifetimes) <= _MAX_LARGEST_FIRST:
        yield partial(_place_largest_first, lifetimes)
    start = min(item.first for item in lifetimes)
    contention = {item.storage: max(live[item.first - start : item.last - start + 1]) for item in lifetimes}
    lengths = {item.storage: item.last - item.first + 1 for item in lifetimes}

    def fill(noise: dict[int, float], *, by_contention: bool) -> Packing:
        def key(item: Lifetime) -> tuple[float, ...]:
            length = lengths[item.storage] * noise.get(item.storage, 1.0)
            if not by_contention:
                return (-length,)
            return (-contention[item.storage] * noise.get(item.storage, 1.0) ** 0.25, -length, -item.num_bytes)

        return fill_skyline(sorted(lifetimes, key=key))

    yield partial(fill, {}, by_contention=True)
    generator = random.Random(0)  # equal traces get equal plans
    while True:
        noise = {item.storage: generator.uniform(0.8, 1.25) for item in lifetimes}
        yield partial(fill, noise, by_contention=False)
        yield partial(fill, noise, by_contention=True)


def _place_largest_first(lifetimes: list[Lifetime]) -> Packing:
    placed: list[tuple[int, int, int, int]] = []  # (offset, end, first, last), by offset
    offsets: dict[int, int] = {}
    peak = 0
    for item in sorted(lifetimes, key=lambda item: (-item.num_bytes, item.first)):
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


def _live_bytes(lifetimes: list[Lifetime]) -> list[int]:
    """Return the sum of live bytes at each node from the first that any buffer lives at."""
    start = min(item.first for item in lifetimes)
    changes = [0] * (max(item.last for item in lifetimes) - start + 2)
    for item in lifetimes:
        changes[item.first - start] += item.num_bytes
        changes[item.last - start + 1] -= item.num_bytes
    return list(accumulate(changes))
