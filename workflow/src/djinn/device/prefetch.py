"""Results that come back with the reply of the call that computed them, where callers fetch them anyway.

Fetching a small result in a message of its own costs as much as the call. So a plan remembers whether its last result
was fetched, and if so asks for the next one with the call. What came along is good until this process writes to any
tensor: then it may have been written to as well, through an alias.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch

from djinn.core import TensorMeta

MAX_PREFETCHED_BYTES = 4 * 2**20
# Up to this size Python's own allocator has warm memory at hand.
_MAX_FRESH_BYTES = 65_536


@dataclass(slots=True)
class Prefetched:
    """A result on the host.

    Attributes:
        host: its elements.
        write_number: the client's, when they were read.
        is_used: whether somebody fetched them.
    """

    host: torch.Tensor
    write_number: int
    is_used: bool = False


class Prefetcher:
    """Whether one plan's results shall come along, and the host memory that they come to.

    Fresh memory is committed page by page as it is written, which costs more than the copy. So a result's memory is
    used again, once nobody but this object holds it.
    """

    __slots__ = ("_buffer", "_buffer_lock", "_is_wanted", "_last", "_num_own_references")

    def __init__(self) -> None:
        self._is_wanted = False
        self._last: Prefetched | None = None
        self._buffer: torch.Tensor | None = None
        self._num_own_references = 0
        self._buffer_lock = threading.Lock()

    def wants_result(self) -> bool:
        """Tell whether to ask for the next result: not if the last one was brought in vain."""
        last, self._last = self._last, None
        if last is not None and not last.is_used:
            self._is_wanted = False
        return self._is_wanted

    def keep(self, meta: TensorMeta, payload: memoryview, write_number: int) -> Prefetched:
        """Copy and remember what came along with a call, dense and row-major."""
        if len(payload) <= _MAX_FRESH_BYTES:
            host = torch.frombuffer(bytearray(payload), dtype=meta.dtype).view(meta.shape)
        else:
            with self._buffer_lock:
                host = self._free_buffer(meta)
                host.reshape(-1).view(torch.uint8).numpy().data[:] = payload
                # A tensor of its own for the caller: whoever holds it, or a view of it, shows in the storage's count.
                host = host.detach()
        # Other threads that call the plan keep their own results at the same time.
        kept = self._last = Prefetched(host, write_number)
        return kept

    def _free_buffer(self, meta: TensorMeta) -> torch.Tensor:
        if self._buffer is None or self._num_references() > self._num_own_references:
            self._buffer = torch.empty(meta.shape, dtype=meta.dtype)
            self._num_own_references = self._num_references()
        return self._buffer

    def _num_references(self) -> int:
        assert self._buffer is not None, "there is no buffer to count the references of"
        return int(torch._C._storage_Use_Count(self._buffer.untyped_storage()._cdata))

    def note_download(self) -> None:
        """A result was fetched in a message of its own, so the next one shall come along."""
        self._is_wanted = True
