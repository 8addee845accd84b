"""The virtual memory unit: the three segments behind one lock."""

from __future__ import annotations

import threading
from typing import Any

import torch

from djinn.config import Config
from djinn.memory.arena import Arena
from djinn.memory.data_segment import DataSegment
from djinn.memory.stack_segment import StackSegment
from djinn.memory.text_segment import TextSegment
from djinn.memory.variants import region_maker
from djinn.units import MiB


class VirtualMemoryUnit:
    """Owns the server's memory; sessions, weights and plans get theirs here."""

    def __init__(self, config: Config | None = None) -> None:
        """Reserve address space for the three segments on the configured device.

        Raises:
            OutOfMemoryError: the system grants no such address space.
        """
        config = Config.from_environment() if config is None else config
        self.default_arena_bytes = config.session_arena_mb * MiB
        make_region = region_maker(config.device_type)
        self.text = TextSegment(config.text_mb * MiB, make_region)
        self.data = DataSegment(config.data_capacity_mb * MiB, make_region)
        self.stack = StackSegment(config.stack_mb * MiB, make_region)
        self.lock = threading.RLock()

    def reserve_session_arena(self, session_id: str, arena_bytes: int | None = None) -> Arena:
        """Reserve a contiguous arena for a session without committing memory.

        Args:
            session_id: a name that holds no arena yet.
            arena_bytes: size, rounded up to whole pages; None takes GENIE_VMU_SESSION_ARENA_MB (64 MiB).

        Raises:
            ValueError: the session has an arena already, or the size is not positive.
            OutOfMemoryError: no contiguous free range is large enough.
        """
        with self.lock:
            return self.data.reserve(session_id, self.default_arena_bytes if arena_bytes is None else arena_bytes)

    def commit_session_arena(self, session_id: str) -> int:
        """Touch every page of a session's arena and return its bytes.

        Raises:
            SessionClosedError: the session has no arena.
        """
        with self.lock:
            return self.data.commit(session_id)

    def write_session_arena(self, session_id: str, offset_bytes: int, content: bytes) -> None:
        """Copy bytes into a session's arena.

        Raises:
            SessionClosedError: the session has no arena.
            ValueError: the range leaves the arena.
        """
        with self.lock:
            view = self._arena_view(session_id, offset_bytes, len(content))
            if content:  # torch makes no tensor of an empty buffer
                view.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))

    def read_session_arena(self, session_id: str, offset_bytes: int, num_bytes: int) -> bytes:
        """Return a copy of bytes of a session's arena; raises as `write_session_arena` does."""
        with self.lock:
            return bytes(self._arena_view(session_id, offset_bytes, num_bytes).cpu().numpy())

    def release_session_arena(self, session_id: str) -> None:
        """Return a session's arena; its pages go back to the system and read zero for the next owner.

        Raises:
            SessionClosedError: the session has no arena.
        """
        with self.lock:
            self.data.release(session_id)

    @property
    def num_sessions(self) -> int:
        """Sessions that hold an arena."""
        return self.data.num_sessions

    @property
    def reserved_bytes(self) -> int:
        """Bytes of all session arenas."""
        return self.data.reserved_bytes

    def _arena_view(self, session_id: str, offset_bytes: int, num_bytes: int) -> torch.Tensor:
        arena = self.data.arena(session_id)
        if offset_bytes < 0 or num_bytes < 0 or offset_bytes + num_bytes > arena.arena_bytes:
            raise ValueError(
                f"Bytes {offset_bytes} to {offset_bytes + num_bytes} leave the arena of session {session_id!r}, which has "
                f"{arena.arena_bytes}; stay inside."
            )
        return self.data.region.bytes_view(arena.offset_bytes + offset_bytes, num_bytes)

    def stats(self) -> dict[str, Any]:
        """Return what each segment holds, in bytes and counts."""
        with self.lock:
            return {
                "text": {
                    "used_bytes": self.text.used_bytes,
                    "num_entries": self.text.num_entries,
                    "capacity_bytes": self.text.region.capacity_bytes,
                    "committed_bytes": self.text.region.committed_bytes,
                },
                "data": {
                    "used_bytes": self.data.used_bytes,
                    "reserved_bytes": self.data.reserved_bytes,
                    "num_sessions": self.data.num_sessions,
                    "capacity_bytes": self.data.region.capacity_bytes,
                    "committed_bytes": self.data.region.committed_bytes,
                },
                "stack": {
                    "peak_bytes": self.stack.peak_bytes,
                    "capacity_bytes": self.stack.region.capacity_bytes,
                    "committed_bytes": self.stack.region.committed_bytes,
                },
            }

    def check_integrity(self) -> None:
        """Assert the invariants of every segment."""
        with self.lock:
            self.text.check_integrity()
            self.data.check_integrity()
            self.stack.check_integrity()

    def close(self) -> None:
        """Return the pages of every session that is still open; the address space goes with the last tensor."""
        with self.lock:
            for session_id in self.data.session_ids():
                self.data.release(session_id)
