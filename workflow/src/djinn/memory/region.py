"""One range of virtual address space: reserved at once, committed by first touch, returned by the page."""

from __future__ import annotations

import mmap

import torch

from djinn.core import TensorMeta
from djinn.errors import OutOfMemoryError
from djinn.units import PAGE_BYTES, align_up

# From <asm-generic/mman-common.h>; Python 3.11's mmap module does not name it.
_MAP_NORESERVE = 0x4000


class Region:
    """Anonymous private memory that reads zero until written and again after `discard`."""

    def __init__(self, name: str, capacity_bytes: int) -> None:
        self.name = name
        self.capacity_bytes = align_up(capacity_bytes, PAGE_BYTES)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        try:
            self._map = mmap.mmap(-1, self.capacity_bytes, flags=flags)
        except OSError as error:
            raise OutOfMemoryError(
                f"The {name} segment cannot reserve {self.capacity_bytes} bytes of address space ({error.strerror}); "
                "set a smaller capacity or raise the limit of virtual memory."
            ) from error
        self._bytes = torch.frombuffer(self._map, dtype=torch.uint8)

    def tensor(self, offset_bytes: int, meta: TensorMeta) -> torch.Tensor:
        """Return a tensor of `meta` over a storage of its own that begins at `offset_bytes`.

        A storage that ended with the region would show through in the tensor's storage offset, and with it in plan keys.
        """
        assert offset_bytes + meta.extent_bytes <= self.capacity_bytes, (
            f"{meta} at {offset_bytes} leaves the {self.name} segment"
        )
        num_bytes = max(meta.extent_bytes, 1)
        own = torch.frombuffer(self._map, dtype=torch.uint8, count=num_bytes, offset=offset_bytes)
        tensor = torch.empty(0, dtype=meta.dtype)
        tensor.set_(own.untyped_storage(), meta.storage_offset, meta.shape, meta.strides)
        return tensor

    def bytes_view(self, offset_bytes: int, num_bytes: int) -> torch.Tensor:
        """Return `num_bytes` from `offset_bytes` as a uint8 tensor of shape (num_bytes,)."""
        return self._bytes[offset_bytes : offset_bytes + num_bytes]

    def commit(self, offset_bytes: int, num_bytes: int) -> None:
        """Make every page of the range resident without changing what it reads."""
        self.bytes_view(offset_bytes, num_bytes)[::PAGE_BYTES].add_(0)

    def discard(self, offset_bytes: int, num_bytes: int) -> None:
        """Return the whole pages of a page-aligned range to the system; they read zero afterwards."""
        assert offset_bytes % PAGE_BYTES == 0, f"discard at {offset_bytes} is not page-aligned"
        self._map.madvise(mmap.MADV_DONTNEED, offset_bytes, align_up(num_bytes, PAGE_BYTES))
