"""Page-locked host memory beside a CUDA device: copies run on streams of their own, one in each direction.

The pool is locked once, at the start: locking memory takes as long as copying it several times. Copies are timed by events
on their stream, which see neither the computation that a copy waits for nor the host's part.
"""

from __future__ import annotations

import hashlib
import threading

import torch

from djinn.errors import OutOfMemoryError
from djinn.memory.free_list import FreeList
from djinn.memory.host_pool import HostPool
from djinn.units import PAGE_BYTES, align_up

# Digests are folded on the side where the bytes lie: this many words to one, some rows at a time.
_WORDS_PER_ROW = 1 << 17
_ROWS_PER_STEP = 64


class PinnedPool(HostPool):
    """One locked allocation, given out by first fit."""

    can_compare = False

    def __init__(self, device: torch.device, capacity_bytes: int) -> None:
        """Allocate and lock.

        Raises:
            OutOfMemoryError: the host does not let so much be locked.
        """
        self._device = device
        self._bytes = torch.zeros(align_up(capacity_bytes, PAGE_BYTES), dtype=torch.uint8)
        code = int(torch.cuda.cudart().cudaHostRegister(self._bytes.data_ptr(), self._bytes.nbytes, 0))
        if code:
            raise OutOfMemoryError(
                f"The host pool cannot lock {self._bytes.nbytes} bytes of memory (CUDA error {code}); lower GENIE_HOST_POOL_MB."
            )
        self._free_list = FreeList(self._bytes.nbytes)
        self._lock = threading.Lock()
        self._outward = torch.cuda.Stream(device)
        self._inward = torch.cuda.Stream(device)
        self._weights = _weights()
        self._device_weights = self._weights.to(device)

    def allocate(self, num_bytes: int) -> torch.Tensor:
        """Return locked bytes; without a contiguous range of this length, pageable ones, which are slower to copy."""
        with self._lock:
            offset = self._free_list.allocate(_padded(num_bytes))
        if offset is None:
            return torch.empty(num_bytes, dtype=torch.uint8)
        return self._bytes[offset : offset + num_bytes]

    def release(self, copy: torch.Tensor) -> None:
        """Give a range back."""
        offset = copy.data_ptr() - self._bytes.data_ptr()
        if 0 <= offset < self._bytes.nbytes:
            with self._lock:
                self._free_list.release(offset, _padded(copy.nbytes))

    def copy_out(self, destination: torch.Tensor, source: torch.Tensor) -> float:
        """Copy to the host, and return the microseconds that it took on the device's clock."""
        return self._copy(destination, source, self._outward)

    def copy_in(self, destination: torch.Tensor, source: torch.Tensor) -> float:
        """Copy to the device, and return the microseconds that it took on the device's clock."""
        return self._copy(destination, source, self._inward)

    def digest(self, data: torch.Tensor) -> str:
        """Return a digest; what lies on the device is folded there, since fetching it would take as long as a swap."""
        weights = self._weights if data.device.type == "cpu" else self._device_weights
        num_words = data.nbytes // 8
        words = data[: num_words * 8].view(torch.int64)
        digest = hashlib.blake2b(data[num_words * 8 :].cpu().numpy().data, digest_size=16)
        step = _WORDS_PER_ROW * _ROWS_PER_STEP
        for start in range(0, num_words, step):
            digest.update(_fold(words[start : start + step], weights).cpu().numpy().data)
        return digest.hexdigest()

    def _copy(self, destination: torch.Tensor, source: torch.Tensor, stream: torch.cuda.Stream) -> float:
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream.wait_stream(torch.cuda.default_stream(self._device))
        with torch.cuda.stream(stream):
            began.record(stream)
            destination.copy_(source, non_blocking=True)
            ended.record(stream)
        ended.synchronize()
        return 1e3 * float(began.elapsed_time(ended))


def _padded(num_bytes: int) -> int:
    return align_up(max(num_bytes, 1), PAGE_BYTES)


def _weights() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    # Odd numbers: multiplying by one loses no bit, so a change of any single word changes its row's sum.
    return torch.randint(-(2**62), 2**62, (_WORDS_PER_ROW,), generator=generator) * 2 + 1


def _fold(words: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return one weighted sum, modulo 2**64, for each row of words; the last row may be shorter."""
    num_rows = words.numel() // _WORDS_PER_ROW
    whole = words[: num_rows * _WORDS_PER_ROW].view(num_rows, _WORDS_PER_ROW)
    rest = words[num_rows * _WORDS_PER_ROW :]
    return torch.cat([(whole * weights).sum(dim=1), (rest * weights[: rest.numel()]).sum().view(1)])
