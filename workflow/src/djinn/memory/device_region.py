"""Device memory as a region: addresses are reserved at once, pages are committed before tensors are made over them.

An accelerator does not commit at first touch, so making a tensor or a view is what commits. Whatever was free between
two committed ranges is committed as one mapping: one call to the driver for many pages.
"""

from __future__ import annotations

import threading

import torch

from djinn.core import TensorMeta
from djinn.memory.device_memory import DeviceMemory
from djinn.memory.region import Region
from djinn.units import align_up


class DeviceRegion(Region):
    """A range of a device's addresses, with what of it is committed."""

    def __init__(self, name: str, capacity_bytes: int, memory: DeviceMemory) -> None:
        """Reserve address space.

        Raises:
            OutOfMemoryError: the device grants none of this length.
        """
        self.name = name
        self.page_bytes = memory.page_bytes
        self.capacity_bytes = align_up(capacity_bytes, self.page_bytes)
        self._memory = memory
        self._base = memory.reserve(name, self.capacity_bytes)
        # One byte a page: searching it for the next page that is or is not committed is a search for a byte.
        self._is_committed = bytearray(self.capacity_bytes // self.page_bytes)
        self._num_pages_by_first: dict[int, int] = {}
        self._num_committed = 0
        self._lock = threading.Lock()

    def tensor(self, offset_bytes: int, meta: TensorMeta) -> torch.Tensor:
        """Commit and return a tensor with a storage of its own, see `Region`.

        Raises:
            OutOfMemoryError: the device has no memory left.
        """
        self._check_range(offset_bytes, meta)
        num_bytes = max(meta.extent_bytes, 1)
        self.commit(offset_bytes, num_bytes)
        tensor = torch.empty(0, dtype=meta.dtype, device=self._memory.device)
        storage = self._memory.storage(self._base + offset_bytes, num_bytes)
        tensor.set_(storage, meta.storage_offset, meta.shape, meta.strides)
        return tensor

    def bytes_view(self, offset_bytes: int, num_bytes: int) -> torch.Tensor:
        """Commit and return bytes.

        Raises:
            OutOfMemoryError: the device has no memory left.
        """
        return self.tensor(offset_bytes, TensorMeta((num_bytes,), (1,), torch.uint8))

    def commit(self, offset_bytes: int, num_bytes: int) -> None:
        """Commit those pages of the range that are not.

        Raises:
            OutOfMemoryError: the device has no memory left; what was committed by then stays.
        """
        first = offset_bytes // self.page_bytes
        last = -(-(offset_bytes + max(num_bytes, 1)) // self.page_bytes)
        with self._lock:
            while (start := self._is_committed.find(0, first, last)) >= 0:
                end = self._is_committed.find(1, start, last)
                first = last if end < 0 else end
                self._map(start, first - start)

    def discard(self, offset_bytes: int, num_bytes: int) -> None:
        """Return whole pages to the device; mappings that begin in the range are taken to end in it."""
        self._check_page(offset_bytes)
        first = offset_bytes // self.page_bytes
        last = -(-(offset_bytes + num_bytes) // self.page_bytes)
        with self._lock:
            self._unmap_within(first, last)
            assert self._is_committed.find(1, first, last) < 0, (
                f"a discard in the {self.name} segment cuts through a tensor's pages"
            )

    def discard_freed(self, freed: range, free: range) -> None:
        """Return the mappings that `free` covers, see `Region`: one that it cuts goes with the rest of its bytes."""
        with self._lock:
            self._unmap_within(-(-free.start // self.page_bytes), free.stop // self.page_bytes)

    @property
    def committed_bytes(self) -> int | None:
        """Bytes of device memory behind the region."""
        return self._num_committed * self.page_bytes

    def _map(self, first: int, num_pages: int) -> None:
        self._memory.map(self.name, self._address(first), num_pages * self.page_bytes)
        self._is_committed[first : first + num_pages] = b"\x01" * num_pages
        self._num_pages_by_first[first] = num_pages
        self._num_committed += num_pages

    def _unmap_within(self, first: int, last: int) -> None:
        """Unmap what was mapped from pages `first` to `last` alone."""
        page = first
        while (page := self._is_committed.find(1, page, last)) >= 0:
            num_pages = self._num_pages_by_first.get(page, 0)  # none in the rest of a mapping that began before
            end = page + num_pages
            if page < end <= last:
                del self._num_pages_by_first[page]
                self._is_committed[page:end] = bytes(num_pages)
                self._num_committed -= num_pages
                self._memory.unmap(self._address(page), num_pages * self.page_bytes)
            page = max(end, page + 1)

    def _address(self, page: int) -> int:
        return self._base + page * self.page_bytes
