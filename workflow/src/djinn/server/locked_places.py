"""Places in shared memory that a CUDA device writes results to itself, so that nobody copies them there.

A place is locked when it is first used, which takes as long as copying a few results; places are used again and again, see
`ReplyBuffers`.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from weakref import WeakKeyDictionary

import torch

from djinn.errors import DjinnError
from djinn.memory import cuda_driver
from djinn.transport.shared_memory import Place, SharedMemory
from djinn.units import PAGE_BYTES, GiB, align_up

# What is locked cannot be swapped out, and a client may want places as it likes.
MAX_LOCKED_BYTES = 1 * GiB


class LockedPlaces:
    """Those of every connection; what a connection's memory has is unlocked when that is closed."""

    def __init__(self, max_bytes: int = MAX_LOCKED_BYTES) -> None:
        """Lock nothing yet, and later at most so many bytes."""
        self._free_bytes = max_bytes
        self._lock = threading.Lock()
        self._mappings: WeakKeyDictionary[SharedMemory, _Mapping] = WeakKeyDictionary()

    def tensor(self, place: Place, like: torch.Tensor) -> torch.Tensor | None:
        """Return a dense host tensor at a place, of another one's dtype and shape; None if the place cannot be locked."""
        pages = self._pages(place)
        if pages is None or pages.nbytes < like.nbytes:
            return None
        return pages[: like.nbytes].view(like.dtype).view(like.shape)

    def address(self, place: Place) -> int | None:
        """Return where a place begins; None if it cannot be locked."""
        pages = self._pages(place)
        return None if pages is None else pages.data_ptr()

    def _pages(self, place: Place) -> torch.Tensor | None:
        mapping = self._mappings.get(place.shared)
        if mapping is None:
            with self._lock:
                mapping = self._mappings[place.shared] = _Mapping(self, place.shared)
        return mapping.pages(place)

    def reserve(self, num_bytes: int) -> bool:
        """Count bytes that are about to be locked, if there may be so many; a negative number when they no longer are."""
        with self._lock:
            if num_bytes > self._free_bytes:
                return False
            self._free_bytes -= num_bytes
            return True


class _Mapping:
    """Those of one connection, whose thread uses it."""

    def __init__(self, owner: LockedPlaces, shared: SharedMemory) -> None:
        self._owner = owner
        self._locked: dict[int, torch.Tensor] = {}
        self._refused: set[int] = set()
        shared.before_close.append(self._unlock_all)

    def pages(self, place: Place) -> torch.Tensor | None:
        """Return the locked bytes of a place's pages; None if they cannot be locked."""
        offset = place.offset_bytes
        pages = self._locked.get(offset)
        if pages is not None or offset % PAGE_BYTES or offset in self._refused:
            return pages
        num_bytes = align_up(len(place.view), PAGE_BYTES)
        pages = torch.frombuffer(place.shared.view, dtype=torch.uint8, offset=offset, count=num_bytes)
        if not self._try_to_lock(pages):
            self._refused.add(offset)
            return None
        self._locked[offset] = pages
        return pages

    def _try_to_lock(self, pages: torch.Tensor) -> bool:
        if not self._owner.reserve(pages.nbytes):
            return False
        address, num_bytes = ctypes.c_void_p(pages.data_ptr()), ctypes.c_size_t(pages.nbytes)
        try:
            cuda_driver.call("cuMemHostRegister_v2", address, num_bytes, ctypes.c_uint(0))
        except DjinnError:  # a client wants places that overlap, or the system has a limit
            self._owner.reserve(-pages.nbytes)
            return False
        return True

    def _unlock_all(self) -> None:
        while self._locked:
            _, pages = self._locked.popitem()
            with contextlib.suppress(DjinnError):  # the device is lost, and everything locked with it
                cuda_driver.call("cuMemHostUnregister", ctypes.c_void_p(pages.data_ptr()))
            self._owner.reserve(-pages.nbytes)
