"""Puts tensors of a client where they belong: weights in Text, session tensors in Data, the rest on torch's heap."""

from __future__ import annotations

import threading
from functools import partial

import torch

from djinn.core import TensorMeta
from djinn.errors import DjinnError
from djinn.memory.arena import Arena
from djinn.memory.text_segment import TextEntry
from djinn.memory.vmu import VirtualMemoryUnit
from djinn.server.table import Block, Entry, TensorTable


class TensorStore:
    """Creates tensors in the segments and keeps the blocks that they occupy.

    Attributes:
        num_moves: how often tensors got other memory than they had.
        computing: held by whoever tells the device to compute with tensors. What was launched may compute on without it: memory
            that goes is unmapped behind what is queued, see `CudaVirtualMemory.unmap`.
    """

    def __init__(self, vmu: VirtualMemoryUnit, device: torch.device) -> None:
        self._vmu = vmu
        self._device = device
        self.num_moves = 0
        self.computing = threading.RLock()

    def create(self, table: TensorTable, tensor_id: int, meta: TensorMeta, session_id: str | None) -> torch.Tensor:
        """Make an uninitialised tensor, in the session's arena if there is a session.

        A tensor without elements takes no room there: operators resize it, and an arena's ranges have fixed sizes.

        Raises:
            OutOfMemoryError: the arena has no room.
            SessionClosedError: the session has no arena.
        """
        if session_id is None or meta.num_elements == 0:
            table.put(tensor_id, torch.empty_strided(meta.shape, meta.strides, dtype=meta.dtype, device=self._device))
            return table.tensor(tensor_id)
        with self._vmu.lock:
            arena = self._vmu.data.arena(session_id)
            num_bytes = meta.extent_bytes
            offset = arena.allocate(num_bytes)
            tensor = self._vmu.data.tensor(arena, offset, meta)
        release = partial(self._release_range, arena, offset, num_bytes)
        _put(table, tensor_id, tensor, Block(tensor.data_ptr(), num_bytes, release, session_id=session_id))
        return tensor

    def store_weight(self, table: TensorTable, tensor_id: int, source: torch.Tensor) -> None:
        """Store a contiguous host tensor in the Text segment, sharing it with equal ones.

        Raises:
            OutOfMemoryError: the segment has no room.
        """
        with self._vmu.lock:
            entry, tensor = self._vmu.text.store(source)
        release = partial(self._release_weight, entry)
        _put(table, tensor_id, tensor, Block(tensor.data_ptr(), source.nbytes, release, text=entry))

    def register(self, table: TensorTable, tensor_id: int, tensor: torch.Tensor, operands: list[Entry]) -> None:
        """Register an operator's result; one that views an operand's block keeps that block alive."""
        address = tensor.data_ptr()
        for operand in operands:
            if operand.block is not None and operand.block.covers(address):
                table.put(tensor_id, tensor, operand.block)
                return
        table.put(tensor_id, tensor)

    def make_writable(self, table: TensorTable, entry: Entry) -> bool:
        """Prepare a tensor for being written to; tell whether it had to move to a copy of its own.

        A weight that others share is copied first (copy on write); one that nobody else holds merely stops being
        offered to others.
        """
        block = entry.block
        if block is None or block.text is None:
            return False
        with self._vmu.lock:
            if block.text.num_references == 1:
                self._vmu.text.forget_content(block.text)
                return False
        self._move_to_heap(table, block)
        return True

    def _release_range(self, arena: Arena, offset: int, num_bytes: int) -> None:
        with self._vmu.lock:
            arena.release(offset, num_bytes)

    def _release_weight(self, entry: TextEntry) -> None:
        # Its pages go, and another connection's computation may be reading them.
        with self.computing, self._vmu.lock:
            self._vmu.text.release(entry)

    def _move_to_heap(self, table: TensorTable, block: Block) -> None:
        self.num_moves += 1
        sharing = table.sharing(block)
        assert sharing, "a block without tensors is being written to"
        base = sharing[0].tensor
        start = block.start - base.untyped_storage().data_ptr()
        content = torch.empty(0, dtype=torch.uint8, device=self._device)
        content.set_(base.untyped_storage(), start, (block.num_bytes,), (1,))
        storage = content.clone().untyped_storage()
        for entry in sharing:
            # New tensor objects, so that bindings which compare identities notice the move.
            old = entry.tensor
            offset = (old.data_ptr() - block.start) // old.itemsize
            entry.tensor = torch.empty(0, dtype=old.dtype, device=self._device).set_(
                storage, offset, old.shape, old.stride()
            )
            entry.block = None
        block.num_references = 0
        block.release()


def _put(table: TensorTable, tensor_id: int, tensor: torch.Tensor, block: Block) -> None:
    """Register the first tensor of a block; the block is given back if the table refuses."""
    try:
        table.put(tensor_id, tensor, block)
    except DjinnError:
        block.release()
        raise
