"""Host memory as a region: anonymous pages that the system commits at first touch."""

from __future__ import annotations

import contextlib
import mmap

import torch

from djinn.core import TensorMeta
from djinn.errors import OutOfMemoryError
from djinn.memory.region import Region
from djinn.units import PAGE_BYTES, align_up

# From <asm-generic/mman-common.h>; Python 3.11's mmap module does not name it.
_MAP_NORESERVE = 0x4000


class HostRegion(Region):
    """Anonymous private memory."""

    def __init__(self, name: str, capacity_bytes: int) -> None:
        """Reserve address space.

        Raises:
            OutOfMemoryError: the system grants none of this length.
        """
        self.name = name
        self.page_bytes = PAGE_BYTES
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
        """Return a tensor with a storage of its own, see `Region`."""
        num_bytes = max(self._check_range(offset_bytes, meta), 1)
        own = torch.frombuffer(self._map, dtype=torch.uint8, count=num_bytes, offset=offset_bytes)
        tensor = torch.empty(0, dtype=meta.dtype)
        tensor.set_(own.untyped_storage(), meta.storage_offset, meta.shape, meta.strides)
        return tensor

    def bytes_view(self, offset_bytes: int, num_bytes: int) -> torch.Tensor:
        """Return bytes; the system commits them when they are touched."""
        return self._bytes[offset_bytes : offset_bytes + num_bytes]

    def commit(self, offset_bytes: int, num_bytes: int) -> None:
        """Touch every page."""
        self.bytes_view(offset_bytes, num_bytes)[::PAGE_BYTES].add_(0)

    def discard(self, offset_bytes: int, num_bytes: int) -> None:
        """Return whole pages to the system."""
        self._check_page(offset_bytes)
        self._map.madvise(mmap.MADV_DONTNEED, offset_bytes, align_up(num_bytes, PAGE_BYTES))

    def discard_freed(self, freed: range, free: range) -> None:
        """Return the pages that `freed` touches and `free` covers, see `Region`."""
        start = max(align_up(free.start, PAGE_BYTES), freed.start // PAGE_BYTES * PAGE_BYTES)
        end = min(free.stop // PAGE_BYTES * PAGE_BYTES, align_up(freed.stop, PAGE_BYTES))
        if start < end:
            self._map.madvise(mmap.MADV_DONTNEED, start, end - start)

    def advise_huge_pages(self) -> None:
        """Ask for pages of 2 MiB; a system that has none goes on with its usual ones."""
        with contextlib.suppress(OSError):
            self._map.madvise(mmap.MADV_HUGEPAGE)

    @property
    def committed_bytes(self) -> int | None:
        """The system does not say it for a range."""
        return None
