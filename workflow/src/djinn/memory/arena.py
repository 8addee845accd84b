"""One session's contiguous arena in the Data segment and the tensors that lie in it."""

from __future__ import annotations

from djinn.errors import OutOfMemoryError
from djinn.memory.free_list import FreeList
from djinn.units import TENSOR_ALIGNMENT_BYTES, align_up


class Arena:
    """A byte range `[offset_bytes, offset_bytes + arena_bytes)` that one session owns.

    Tensor offsets are relative to the arena, so that they stay valid wherever its bytes are kept.
    """

    __slots__ = ("_free_list", "arena_bytes", "high_water_bytes", "offset_bytes", "session_id")

    def __init__(self, session_id: str, offset_bytes: int, arena_bytes: int) -> None:
        self.session_id = session_id
        self.offset_bytes = offset_bytes
        self.arena_bytes = arena_bytes
        self.high_water_bytes = 0
        # Made at the first tensor: reserving an arena is bookkeeping that has to stay within microseconds.
        self._free_list: FreeList | None = None

    @property
    def used_bytes(self) -> int:
        """Bytes that tensors hold now."""
        return 0 if self._free_list is None else self._free_list.allocated_bytes

    def allocate(self, num_bytes: int) -> int:
        """Return the arena-relative offset of `num_bytes` for a tensor.

        Raises:
            OutOfMemoryError: no free range of the arena is large enough.
        """
        if self._free_list is None:
            self._free_list = FreeList(self.arena_bytes)
        offset = self._free_list.allocate(tensor_bytes(num_bytes))
        if offset is None:
            raise OutOfMemoryError(
                f"Session {self.session_id!r} asked for {num_bytes} bytes, but the largest free range of its arena of "
                f"{self.arena_bytes} bytes has {self._free_list.largest_free_bytes}; open the session with a larger arena_mb."
            )
        self.high_water_bytes = max(self.high_water_bytes, offset + tensor_bytes(num_bytes))
        return offset

    def release(self, offset: int, num_bytes: int) -> None:
        """Give back a range that `allocate(num_bytes)` returned."""
        assert self._free_list is not None, f"session {self.session_id!r} releases bytes that it never allocated"
        self._free_list.release(offset, tensor_bytes(num_bytes))

    def check_integrity(self) -> None:
        """Assert that the arena's own bookkeeping is consistent."""
        if self._free_list is not None:
            self._free_list.check_integrity()
        assert self.used_bytes <= self.high_water_bytes <= self.arena_bytes, (
            f"session {self.session_id!r} leaves its arena"
        )


def tensor_bytes(num_bytes: int) -> int:
    """Bytes that a tensor of `num_bytes` takes with its alignment; an empty tensor takes one slot."""
    return align_up(max(num_bytes, 1), TENSOR_ALIGNMENT_BYTES)
