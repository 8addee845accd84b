"""The free list against a byte map: random allocations and releases keep every invariant."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from djinn.memory.free_list import FreeList

_CAPACITY = 512


class FreeListMachine(RuleBasedStateMachine):
    """Allocates and releases at random; the model is one owner for each byte."""

    ranges = Bundle("ranges")

    def __init__(self) -> None:
        super().__init__()
        self.free_list = FreeList(_CAPACITY)
        self.owned = bytearray(_CAPACITY)

    @rule(target=ranges, num_bytes=st.integers(1, 96))
    def allocate(self, num_bytes: int) -> tuple[int, int]:
        """What is handed out is free; a refusal means that no gap is large enough."""
        start = self.free_list.allocate(num_bytes)
        if start is None:
            assert max(len(gap) for gap in bytes(self.owned).split(b"\x01")) < num_bytes
            return (0, 0)
        assert not any(self.owned[start : start + num_bytes])
        self.owned[start : start + num_bytes] = b"\x01" * num_bytes
        return (start, num_bytes)

    @rule(taken=consumes(ranges))
    def release(self, taken: tuple[int, int]) -> None:
        """Give a range back."""
        start, num_bytes = taken
        if num_bytes:
            self.free_list.release(start, num_bytes)
            self.owned[start : start + num_bytes] = bytes(num_bytes)

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Free blocks are exactly the maximal gaps of the model."""
        self.free_list.check_integrity()
        assert self.free_list.allocated_bytes == sum(self.owned)
        gaps = sorted(len(gap) for gap in bytes(self.owned).split(b"\x01") if gap)
        assert sorted(size for _, size in self.free_list.free_blocks()) == gaps


FreeListMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestFreeList = FreeListMachine.TestCase
