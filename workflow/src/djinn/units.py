"""Byte units and alignment arithmetic."""

from __future__ import annotations

KiB = 1024
MiB = 1024**2
GiB = 1024**3

PAGE_BYTES = 4096
# MKL and cuBLAS pick kernels by alignment, up to 64 and 256 bytes; torch's own allocators give as much, so results are equal.
TENSOR_ALIGNMENT_BYTES = 256


def align_up(num_bytes: int, alignment_bytes: int) -> int:
    """Round `num_bytes` up to a multiple of `alignment_bytes`, a power of two."""
    return (num_bytes + alignment_bytes - 1) & -alignment_bytes
