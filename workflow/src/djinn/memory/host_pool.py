"""Host memory for copies of what leaves the device: how it is allocated, copied to and from, and digested."""

from __future__ import annotations

import hashlib
from time import perf_counter_ns

import torch


class HostPool:
    """Pageable memory beside segments that are host memory too.

    Attributes:
        can_compare: whether the host can read a segment, so that only what has changed needs to be copied.
    """

    can_compare = True

    def allocate(self, num_bytes: int) -> torch.Tensor:
        """Return uninitialised bytes."""
        return torch.empty(num_bytes, dtype=torch.uint8)

    def release(self, copy: torch.Tensor) -> None:
        """Take back what `allocate` returned."""

    def copy_out(self, destination: torch.Tensor, source: torch.Tensor) -> float:
        """Copy from a segment; returns when it is done, with the microseconds that it took."""
        return _copy(destination, source)

    def copy_in(self, destination: torch.Tensor, source: torch.Tensor) -> float:
        """Copy to a segment; returns when it is done, with the microseconds that it took."""
        return _copy(destination, source)

    def digest(self, data: torch.Tensor) -> str:
        """Return a digest of bytes, the same for the same bytes in a segment and in the pool."""
        return hashlib.blake2b(data.numpy().data, digest_size=16).hexdigest()


def _copy(destination: torch.Tensor, source: torch.Tensor) -> float:
    start_ns = perf_counter_ns()
    destination.copy_(source)
    return (perf_counter_ns() - start_ns) / 1e3
