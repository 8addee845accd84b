"""Byte units and alignment arithmetic."""

from __future__ import annotations

KiB = 1024
MiB = 1024**2
GiB = 1024**3

PAGE_BYTES = 4096
# Torch's own CPU allocator aligns to 64 bytes; MKL picks kernels by alignment, so equal alignment keeps results bit-equal.
TENSOR_ALIGNMENT_BYTES = 64


def align_up(num_bytes: int, alignment_bytes: int) -> int:
    """Round `num_bytes` up to a multiple of `alignment_bytes`, a power of two."""
    return (num_bytes + alignment_bytes - 1) & -alignment_bytes
