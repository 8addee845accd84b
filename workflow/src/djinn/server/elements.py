"""Elements of tensors as they travel: bytes to host tensors and back."""

from __future__ import annotations

import torch

from djinn.core import DTYPES, TensorMeta, TraceValue
from djinn.errors import PlanError


def dtype(code: int) -> torch.dtype:
    """Return the dtype of a code.

    Raises:
        PlanError: there is none.
    """
    if not 0 <= code < len(DTYPES):
        raise PlanError(f"Dtype code {code} is unknown; the codes are 0 to {len(DTYPES) - 1}.")
    return DTYPES[code]


def default_dtype(code: int | None) -> torch.dtype:
    """Return the dtype of a code, which has to be one that a process may have by default; raises as `dtype` does.

    Raises:
        PlanError: it is none of fractions.
    """
    wanted = torch.float32 if code is None else dtype(code)
    if not wanted.is_floating_point:
        raise PlanError(f"{wanted} cannot be a default dtype; name one of floating point.")
    return wanted


def unmarked(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor whose memory holds its elements: torch marks some as conjugates or negatives of what is there."""
    return tensor.resolve_conj().resolve_neg()


def check_length(meta: TensorMeta, num_bytes: int) -> None:
    """Refuse content that is not exactly the elements of a row-major tensor at the start of its storage.

    Raises:
        PlanError: it is not.
    """
    if meta.storage_offset or not meta.is_row_major or meta.extent_bytes != num_bytes:
        raise PlanError(
            f"A tensor of shape {meta.shape} cannot be made from {num_bytes} bytes; send them all, densely."
        )


def host_constant(values: tuple[TraceValue, ...], index: int, content: bytes) -> torch.Tensor:
    """Return the host tensor of a trace's constant.

    Raises:
        PlanError: an unknown value, or content that is not exactly its elements.
    """
    if not 0 <= index < len(values):
        raise PlanError(f"Constant {index} is none of the trace's {len(values)} values; trace the call again.")
    meta = values[index].meta
    if not meta.is_row_major or meta.extent_bytes != len(content):
        raise PlanError(f"Constant {index} cannot be made from {len(content)} bytes; send them all, densely.")
    return (
        torch.frombuffer(bytearray(content), dtype=meta.dtype).view(meta.shape)
        if content
        else torch.empty(meta.shape, dtype=meta.dtype)
    )


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a row-major tensor."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def from_bytes(payload: memoryview | bytes, meta: TensorMeta) -> torch.Tensor:
    """Return a host tensor over a payload; over a copy if it is of bytes, as those cannot be written to."""
    if not payload:
        return torch.empty(meta.shape, dtype=meta.dtype)
    memory = bytearray(payload) if isinstance(payload, bytes) else payload
    return torch.frombuffer(memory, dtype=meta.dtype).view(meta.shape)
