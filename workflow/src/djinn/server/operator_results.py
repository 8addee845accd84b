"""What an operator's caller is told of its results."""

from __future__ import annotations

from typing import Any

import torch

from djinn.core import DTYPE_CODES
from djinn.errors import UnsupportedOperatorError


def check_results(name: str, results: list[Any], refs: dict[int, int]) -> None:
    """Refuse results that this device does not hold.

    Args:
        name: of the operator.
        results: what it returned.
        refs: identifiers of its operands, by `id`.

    Raises:
        UnsupportedOperatorError: there is one.
    """
    for value in results:
        if isinstance(value, torch.Tensor) and (value.is_conj() or value.is_neg()) and id(value) in refs:
            raise UnsupportedOperatorError(
                f"Operator {name} left the conjugate or negative of its result in a given tensor; leave out= away, or move the "
                "operands to the CPU for it."
            )
        if isinstance(value, torch.Tensor) and (value.layout is not torch.strided or value.dtype not in DTYPE_CODES):
            raise UnsupportedOperatorError(
                f"Operator {name} returns a tensor of layout {value.layout} and dtype {value.dtype}, which this device does "
                "not hold; move the operands to the CPU for it."
            )


def describe(value: Any, refs: dict[int, int]) -> Any:
    """Return ("new", shape, strides, dtype code, offset), ("same", tensor id, metadata) for an operand, ("value", scalar) or None."""
    if value is None:
        return None
    if not isinstance(value, torch.Tensor):
        return ("value", value)
    meta = (tuple(value.shape), tuple(value.stride()), DTYPE_CODES[value.dtype], value.storage_offset())
    return ("same", refs[id(value)], *meta) if id(value) in refs else ("new", *meta)
