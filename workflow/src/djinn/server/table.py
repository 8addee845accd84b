"""The tensors of one client by identifier, and the memory blocks that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from djinn.errors import OutOfMemoryError, PlanError, SessionClosedError
from djinn.memory.text_segment import TextEntry


@dataclass(slots=True, eq=False)
class Block:
    """A range of a segment that one or more tensors view; released with the last of them.

    Attributes:
        start: address of its first byte.
        num_bytes: its length.
        release: gives the range back.
        session_id: the session whose arena it lies in, if any.
        text: the Text entry that it is, if any.
    """

    start: int
    num_bytes: int
    release: Callable[[], None]
    session_id: str | None = None
    text: TextEntry | None = None
    num_references: int = 0

    def covers(self, address: int) -> bool:
        """Tell whether an address lies in the block."""
        return self.start <= address < self.start + max(self.num_bytes, 1)


@dataclass(slots=True)
class Entry:
    """A tensor and the block it lies in; None for memory that torch's allocator owns."""

    tensor: torch.Tensor
    block: Block | None = None


# A tensor costs about 700 bytes of the server's own memory, however small it is.
MAX_TENSORS = 1 << 20


@dataclass(slots=True)
class TensorTable:
    """Identifier to tensor for one client."""

    _entries: dict[int, Entry] = field(default_factory=dict)
    _sessions: dict[int, str] = field(default_factory=dict)
    _closed_sessions: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, tensor_id: int) -> bool:
        return tensor_id in self._entries

    def put(self, tensor_id: int, tensor: torch.Tensor, block: Block | None = None) -> None:
        """Register a tensor under an identifier that is not in use.

        Raises:
            PlanError: the identifier is in use.
            OutOfMemoryError: the client has as many tensors as it may have.
        """
        self.check_room(tensor_id, 1)
        if block is not None:
            block.num_references += 1
            if block.session_id is not None:
                self._sessions[tensor_id] = block.session_id
        self._entries[tensor_id] = Entry(tensor, block)

    def check_room(self, base_id: int, count: int) -> None:
        """Refuse identifiers that are in use, and more tensors than a client may have.

        Raises:
            PlanError: one of `count` identifiers from `base_id` is in use.
            OutOfMemoryError: there is no room for so many.
        """
        entries, tensor_ids = self._entries, range(base_id, base_id + count)
        if not entries.keys().isdisjoint(tensor_ids):
            tensor_id = next(filter(entries.__contains__, tensor_ids), base_id)  # it may be freed meanwhile
            raise PlanError(f"Tensor {tensor_id} exists already; use a new identifier.")
        if len(entries) + count > MAX_TENSORS:
            raise OutOfMemoryError(
                f"The client holds {len(entries)} of the {MAX_TENSORS} tensors that it may; free some of them."
            )

    def entry(self, tensor_id: int) -> Entry:
        """Return the entry of a tensor.

        Raises:
            SessionClosedError: it lay in the arena of a session that ended.
            PlanError: there is no such tensor.
        """
        entry = self._entries.get(tensor_id)
        if entry is not None:
            return entry
        if tensor_id in self._closed_sessions:
            session_id = self._closed_sessions[tensor_id]
            raise SessionClosedError(
                f"Session {session_id!r} was closed and its tensors are gone; open a session and make them again."
            )
        raise PlanError(f"Tensor {tensor_id} is unknown to the server; it was freed or never made.")

    def tensor(self, tensor_id: int) -> torch.Tensor:
        """Return a tensor; raises as `entry` does."""
        return self.entry(tensor_id).tensor

    def entries(self, tensor_ids: Sequence[int]) -> list[Entry]:
        """Return the entries of several tensors; raises as `entry` does."""
        # A decode step names dozens of caches: no Python is run for each of them here, nor for their sessions.
        found: list[Any] = list(map(self._entries.get, tensor_ids))
        return found if all(found) else [self.entry(tensor_id) for tensor_id in tensor_ids]

    def sessions_of(self, tensor_ids: Iterable[int]) -> list[str]:
        """Return the sessions in whose arenas these tensors lie; unknown ones lie in none."""
        found = set(map(self._sessions.get, tensor_ids))
        return [session_id for session_id in found if session_id is not None]

    def sharing(self, block: Block) -> list[Entry]:
        """Return the entries whose tensors view a block."""
        return [entry for entry in self._entries.values() if entry.block is block]

    def free(self, tensor_id: int) -> None:
        """Forget a tensor; unknown identifiers are ignored, because a session's end frees tensors too."""
        self._closed_sessions.pop(tensor_id, None)
        entry = self._entries.pop(tensor_id, None)
        self._sessions.pop(tensor_id, None)
        if entry is not None and entry.block is not None:
            _drop_reference(entry.block)

    def close_session(self, session_id: str) -> list[int]:
        """Forget every tensor in a session's arena and return which; later uses say so."""
        closed = [i for i, e in list(self._entries.items()) if e.block is not None and e.block.session_id == session_id]
        for tensor_id in closed:
            self.free(tensor_id)
            self._closed_sessions[tensor_id] = session_id
        # Whoever asks for one of the oldest is told less about why it is gone.
        for tensor_id in list(self._closed_sessions)[: len(self._closed_sessions) - MAX_TENSORS]:
            del self._closed_sessions[tensor_id]
        return closed

    def check_integrity(self) -> None:
        """Assert that every block counts exactly the tensors that view it, and that each of them lies in it."""
        counts: dict[int, int] = {}
        blocks: dict[int, Block] = {}
        for tensor_id, entry in list(self._entries.items()):
            if entry.block is not None:
                blocks[id(entry.block)] = entry.block
                counts[id(entry.block)] = counts.get(id(entry.block), 0) + 1
                assert self._sessions.get(tensor_id) == entry.block.session_id, (
                    f"tensor {tensor_id} is in another session"
                )
                assert entry.block.covers(entry.tensor.data_ptr()), f"tensor {tensor_id} lies outside its block"
        for key, block in blocks.items():
            assert block.num_references == counts[key], (
                f"a block counts {block.num_references} tensors, but {counts[key]} view it"
            )

    def clear(self) -> None:
        """Forget everything."""
        for tensor_id in list(self._entries):
            self.free(tensor_id)


def _drop_reference(block: Block) -> None:
    block.num_references -= 1
    if block.num_references == 0:
        block.release()
