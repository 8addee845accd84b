"""Which ranges of a byte range are free: best fit, coalescing, constant time for repeated sizes.

Free blocks are indexed three ways: by start, by end (both for coalescing with neighbours in constant time) and by
size. Sizes recur (arenas, weights of repeated layers), so the sorted list of distinct sizes stays short.

    |  allocated  | free block |  allocated  |      free block      |
                  ^start       ^end = start of the next owner
"""

from __future__ import annotations

from bisect import bisect_left, insort


class FreeList:
    """Allocator of offsets in `[0, capacity_bytes)`; holds no memory itself."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.allocated_bytes = 0
        self._size_by_start: dict[int, int] = {}
        self._start_by_end: dict[int, int] = {}
        self._starts_by_size: dict[int, set[int]] = {}
        self._sizes: list[int] = []
        if capacity_bytes:
            self._insert(0, capacity_bytes)

    def allocate(self, num_bytes: int) -> int | None:
        """Take `num_bytes` from the smallest block that holds them; None when no block does."""
        assert num_bytes > 0, f"allocation of {num_bytes} bytes"
        place = bisect_left(self._sizes, num_bytes)
        if place == len(self._sizes):
            return None
        block_bytes = self._sizes[place]
        # pop() remembers where it stopped; iterating would scan the gaps that earlier removals left.
        start = self._starts_by_size[block_bytes].pop()
        self._unlink(start, block_bytes)
        if block_bytes > num_bytes:
            self._insert(start + num_bytes, block_bytes - num_bytes)
        self.allocated_bytes += num_bytes
        return start

    def release(self, start: int, num_bytes: int) -> range:
        """Give back a range that `allocate` returned, merging it with free neighbours, and return what is free there now."""
        self.allocated_bytes -= num_bytes
        end = start + num_bytes
        following_bytes = self._size_by_start.get(end)
        if following_bytes is not None:
            self._remove(end, following_bytes)
            end += following_bytes
        preceding_start = self._start_by_end.get(start)
        if preceding_start is not None:
            self._remove(preceding_start, start - preceding_start)
            start = preceding_start
        self._insert(start, end - start)
        return range(start, end)

    @property
    def largest_free_bytes(self) -> int:
        """Size of the largest request that `allocate` can serve now."""
        return self._sizes[-1] if self._sizes else 0

    def free_blocks(self) -> list[tuple[int, int]]:
        """Return (start, size in bytes) of every free block in address order."""
        return sorted(self._size_by_start.items())

    def check_integrity(self) -> None:
        """Assert that blocks are disjoint, coalesced, in range, and add up with what is allocated."""
        previous_end = -1
        free_bytes = 0
        for start, num_bytes in self.free_blocks():
            assert num_bytes > 0, f"free block at {start} has {num_bytes} bytes"
            assert start > previous_end, f"free block at {start} touches or overlaps one that ends at {previous_end}"
            previous_end = start + num_bytes
            free_bytes += num_bytes
            assert self._start_by_end[previous_end] == start, f"free block at {start} is not indexed by its end"
            assert start in self._starts_by_size[num_bytes], f"free block at {start} is not indexed by its size"
        assert previous_end <= self.capacity_bytes, f"free block ends at {previous_end} of {self.capacity_bytes}"
        assert free_bytes + self.allocated_bytes == self.capacity_bytes, (
            f"{free_bytes} free and {self.allocated_bytes} allocated bytes are not {self.capacity_bytes}"
        )
        assert self._sizes == sorted(self._starts_by_size), "the sorted sizes differ from the index by size"

    def _insert(self, start: int, num_bytes: int) -> None:
        self._size_by_start[start] = num_bytes
        self._start_by_end[start + num_bytes] = start
        starts = self._starts_by_size.get(num_bytes)
        if starts is None:
            self._starts_by_size[num_bytes] = {start}
            insort(self._sizes, num_bytes)
        else:
            starts.add(start)

    def _remove(self, start: int, num_bytes: int) -> None:
        self._starts_by_size[num_bytes].remove(start)
        self._unlink(start, num_bytes)

    def _unlink(self, start: int, num_bytes: int) -> None:
        del self._size_by_start[start]
        del self._start_by_end[start + num_bytes]
        if not self._starts_by_size[num_bytes]:
            del self._starts_by_size[num_bytes]
            del self._sizes[bisect_left(self._sizes, num_bytes)]
