"""The Text segment: weights, stored once for each content and counted by reference."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from djinn.core import TensorMeta
from djinn.errors import OutOfMemoryError
from djinn.memory.arena import tensor_bytes
from djinn.memory.free_list import FreeList
from djinn.memory.host_region import HostRegion
from djinn.memory.variants import MakeRegion


@dataclass(slots=True)
class TextEntry:
    """One stored content: where it lies, how often it is referenced, and its digest while the content is unchanged."""

    offset_bytes: int
    num_bytes: int
    num_references: int
    digest: bytes | None


class TextSegment:
    """Weights by content: equal bytes of equal shape and dtype share one copy until somebody writes to it."""

    def __init__(self, capacity_bytes: int, make_region: MakeRegion = HostRegion) -> None:
        self.region = make_region("Text", capacity_bytes)
        # Small models measured 1 to 2 % faster so, a decode step that reads 330 MB of weights 3 to 5 %. Arenas are left to
        # small pages: of a large one, the first tensor of every session would commit all.
        self.region.advise_huge_pages()
        self._free_list = FreeList(self.region.capacity_bytes)
        self._by_digest: dict[bytes, TextEntry] = {}
        self._num_entries = 0

    @property
    def used_bytes(self) -> int:
        """Bytes that weights hold now."""
        return self._free_list.allocated_bytes

    @property
    def num_entries(self) -> int:
        """Contents stored now."""
        return self._num_entries

    def store(self, source: torch.Tensor) -> tuple[TextEntry, torch.Tensor]:
        """Store a contiguous host tensor, or reference the copy that is there, and return its entry and tensor.

        Raises:
            OutOfMemoryError: no free range of the segment is large enough.
        """
        meta = TensorMeta(tuple(source.shape), tuple(source.stride()), source.dtype)
        digest = _digest(source, meta)
        entry = self._by_digest.get(digest)
        if entry is None:
            entry = self._allocate(source.nbytes)
            try:
                self.region.tensor(entry.offset_bytes, meta).copy_(source)
            except BaseException:  # a device has no memory left
                self.release(entry)
                raise
            entry.digest = digest
            self._by_digest[digest] = entry
        else:
            entry.num_references += 1
        return entry, self.region.tensor(entry.offset_bytes, meta)

    def release(self, entry: TextEntry) -> None:
        """Drop one reference; the last one frees the bytes, and whole pages of them go back to the system."""
        assert entry.num_references > 0, "a Text entry was released more often than referenced"
        entry.num_references -= 1
        if entry.num_references == 0:
            self.forget_content(entry)
            num_bytes = tensor_bytes(entry.num_bytes)
            free = self._free_list.release(entry.offset_bytes, num_bytes)
            self.region.discard_freed(range(entry.offset_bytes, entry.offset_bytes + num_bytes), free)
            self._num_entries -= 1

    def forget_content(self, entry: TextEntry) -> None:
        """Stop offering an entry to others, because its owner is about to write to it."""
        if entry.digest is not None:
            del self._by_digest[entry.digest]
            entry.digest = None

    def check_integrity(self) -> None:
        """Assert that the index and the free ranges agree."""
        self._free_list.check_integrity()
        for digest, entry in self._by_digest.items():
            assert entry.digest == digest, "a Text entry is indexed under another content"
            assert entry.num_references > 0, "an unreferenced Text entry is still offered"

    def _allocate(self, num_bytes: int) -> TextEntry:
        offset = self._free_list.allocate(tensor_bytes(num_bytes))
        if offset is None:
            raise OutOfMemoryError(
                f"Weights of {num_bytes} bytes do not fit the Text segment, whose largest free range has "
                f"{self._free_list.largest_free_bytes} of {self.region.capacity_bytes} bytes; free models or raise GENIE_TEXT_MB."
            )
        self._num_entries += 1
        return TextEntry(offset, num_bytes, 1, None)


def _digest(source: torch.Tensor, meta: TensorMeta) -> bytes:
    digest = hashlib.blake2b(repr((meta.shape, meta.strides, meta.dtype)).encode(), digest_size=32)
    if source.nbytes:
        digest.update(source.reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()
