"""Strip packing with fixed intervals: always fill the lowest ledge of the skyline.

The best-fit heuristic of Burke, Kendall and Whitwell ("A New Placement Heuristic for the Orthogonal Stock-Cutting
Problem", 2004), which Sekiyama et al. ("Profile-guided memory optimization for deep neural networks", 2018) use for
buffers: time is the strip's width, and a buffer's interval says where in it the buffer has to lie.

    offset ^      ____
           |  ___|    |___        each ledge: [start, end) in time at one offset
           | |        |   |__     the lowest one takes the first buffer, in the given order, that fits inside it;
           +------------------>   if none does, it is raised to its lower neighbour and merged with it
"""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np

from djinn.planning.lifetimes import Lifetime


class Skyline:
    """The upper ends of what has been placed, as ledges that partition time."""

    def __init__(self, start: int, end: int) -> None:
        self._end: dict[int, int] = {}
        self._offset: dict[int, int] = {}
        self._previous: dict[int, int | None] = {}
        self._heap: list[tuple[int, int, int]] = []
        self._add(start, end, 0, None)

    def lowest(self) -> tuple[int, int, int]:
        """Take the lowest ledge, the earliest of equals: (offset, start, end)."""
        while True:
            offset, start, end = heappop(self._heap)
            if self._end.get(start) == end and self._offset[start] == offset:
                return offset, start, end

    def cover(self, start: int, end: int, covered: tuple[int, int], offset: int) -> None:
        """Replace part of the ledge [start, end) by a higher one; what is left beside it stays."""
        previous, below = self._previous[start], self._offset[start]
        self._drop(start)
        for piece_start, piece_end, piece_offset in (
            (start, covered[0], below),
            (*covered, offset),
            (covered[1], end, below),
        ):
            if piece_start < piece_end:
                self._add(piece_start, piece_end, piece_offset, previous)
                previous = piece_start
        if end in self._previous:
            self._previous[end] = previous

    def lift(self, start: int, end: int) -> None:
        """Raise the ledge [start, end) to its lower neighbour and merge them."""
        previous, following = self._previous[start], end if end in self._end else None
        neighbours = [self._offset[ledge] for ledge in (previous, following) if ledge is not None]
        assert neighbours, "a buffer outlives the strip"
        offset, before = min(neighbours), previous
        self._drop(start)
        if previous is not None and self._offset[previous] == offset:
            start, before = previous, self._previous[previous]
            self._drop(previous)
        if following is not None and self._offset[following] == offset:
            end = self._end[following]
            self._drop(following)
        self._add(start, end, offset, before)
        if end in self._previous:
            self._previous[end] = start

    def _add(self, start: int, end: int, offset: int, previous: int | None) -> None:
        self._end[start], self._offset[start], self._previous[start] = end, offset, previous
        heappush(self._heap, (offset, start, end))

    def _drop(self, start: int) -> None:
        del self._end[start], self._offset[start], self._previous[start]


def fill_skyline(lifetimes: list[Lifetime]) -> tuple[dict[int, int], int]:
    """Place buffers, preferring earlier ones where several fit, and return their offsets and the peak in bytes."""
    first = np.array([lifetime.first for lifetime in lifetimes])
    end = np.array([lifetime.last + 1 for lifetime in lifetimes])
    waiting = np.ones(len(lifetimes), dtype=bool)
    skyline = Skyline(int(first.min()), int(end.max()))
    offsets: dict[int, int] = {}
    peak = 0
    while len(offsets) < len(lifetimes):
        offset, ledge_start, ledge_end = skyline.lowest()
        fitting = waiting & (first >= ledge_start) & (end <= ledge_end)
        number = int(fitting.argmax())
        if not fitting[number]:
            skyline.lift(ledge_start, ledge_end)
            continue
        buffer = lifetimes[number]
        waiting[number] = False
        offsets[buffer.storage] = offset
        top = offset + buffer.num_bytes
        peak = max(peak, top)
        skyline.cover(ledge_start, ledge_end, (buffer.first, buffer.last + 1), top)
    return offsets, peak
