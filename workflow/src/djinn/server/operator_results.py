"""What an operator returned, as its caller is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from djinn.core import DTYPE_CODES
from djinn.errors import UnsupportedOperatorError
from djinn.server.elements import unmarked


def describe(name: str, value: Any, numbers: Mapping[int, int]) -> tuple[torch.Tensor | None, Any]:
    """Return one of an operator's results, if it is a new tensor, and its description as `Described` has it.

    Args:
        name: of the operator.
        value: what it returned.
        numbers: of the tensors that it was called on, by their `id`.

    Raises:
        UnsupportedOperatorError: a result that this device does not hold.
    """
    if not isinstance(value, torch.Tensor):
        return None, None if value is None else ("value", value)
    code = DTYPE_CODES.get(value.dtype)
    if value.layout is not torch.strided or code is None:
        raise UnsupportedOperatorError(
            f"Operator {name} returns a tensor of layout {value.layout} and dtype {value.dtype}, which this device does "
            "not hold; move the operands to the CPU for it."
        )
    is_marked = value.is_conj() or value.is_neg()
    number = numbers.get(id(value))
    if number is None:
        if is_marked:
            value = unmarked(value)
        return value, ("new", *_metadata(value, code))
    if is_marked:
        raise UnsupportedOperatorError(
            f"Operator {name} left the conjugate or negative of its result in a given tensor; leave out= away, or move the "
            "operands to the CPU for it."
        )
    return None, ("same", number, *_metadata(value, code))


def _metadata(tensor: torch.Tensor, code: int) -> tuple[tuple[int, ...], tuple[int, ...], int, int]:
    return tuple(tensor.shape), tuple(tensor.stride()), code, int(tensor.storage_offset())
