"""The Stack segment: activations of the calls under way, allocated by watermark."""

from __future__ import annotations

from djinn.errors import OutOfMemoryError
from djinn.memory.host_region import HostRegion
from djinn.memory.variants import MakeRegion
from djinn.units import TENSOR_ALIGNMENT_BYTES

_ALIGNMENT_MASK = TENSOR_ALIGNMENT_BYTES - 1


class StackSegment:
    """A bump allocator: a call pushes its plan's bytes and pops them by resetting the watermark."""

    def __init__(self, capacity_bytes: int, make_region: MakeRegion = HostRegion) -> None:
        self.region = make_region("Stack", capacity_bytes)
        self.region.advise_huge_pages()
        self.watermark_bytes = 0
        self.peak_bytes = 0

    def check_fits(self, num_bytes: int) -> None:
        """Refuse a plan that could never run.

        Raises:
            OutOfMemoryError: the plan's peak exceeds the whole segment.
        """
        if num_bytes > self.region.capacity_bytes:
            raise OutOfMemoryError(
                f"A plan needs {num_bytes} bytes of activations, but the Stack segment has {self.region.capacity_bytes}; "
                "use a smaller input or raise GENIE_STACK_MB."
            )

    def push(self, num_bytes: int) -> int:
        """Take `num_bytes` above the watermark and return their offset, which `pop` takes back.

        Raises:
            OutOfMemoryError: the bytes do not fit.
        """
        base = self.watermark_bytes
        top = (base + num_bytes + _ALIGNMENT_MASK) & ~_ALIGNMENT_MASK
        if top > self.peak_bytes:  # as it is not at most calls of a plan
            self.check_fits(top)
            self.peak_bytes = top
        self.watermark_bytes = top
        return base

    def pop(self, base: int) -> None:
        """Reset the watermark to what it was before a push."""
        self.watermark_bytes = base

    def check_integrity(self) -> None:
        """Assert that the watermark lies in the segment."""
        assert 0 <= self.watermark_bytes <= self.region.capacity_bytes, f"watermark at {self.watermark_bytes}"
