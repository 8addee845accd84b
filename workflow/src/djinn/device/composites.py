"""Operators that consist of others in another way on this device than torch knows, in a plan as in a single operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from djinn.device.attention import scaled_dot_product_attention

aten = torch.ops.aten


def _histc(source: torch.Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Any:
    """Count integers too, as accelerators do and the CPU does not; doubles hold every count and every int32."""
    if source.is_floating_point():
        return NotImplemented
    return aten.histc.default(source.double(), bins, min, max).to(source.dtype)


def _ctc_loss(
    log_probs: torch.Tensor,
    targets: torch.Tensor,
    input_lengths: torch.Tensor,
    target_lengths: torch.Tensor,
    *rest: Any,
) -> Any:
    """Take lengths as numbers, wherever they lie, as the CPU does."""
    return aten.ctc_loss.IntList(log_probs, targets, input_lengths.tolist(), target_lengths.tolist(), *rest)


# Functions of an operator's operands; one that returns NotImplemented leaves them to the operator itself.
COMPOSITES: dict[Any, Callable[..., Any]] = {
    aten.scaled_dot_product_attention.default: scaled_dot_product_attention,
    aten.histc.default: _histc,
    aten.ctc_loss.Tensor: _ctc_loss,
}
_COMPOSITE_FOR_AUTOGRAD = (aten.scaled_dot_product_attention.default, aten.ctc_loss.Tensor)


def register(library: torch.library.Library) -> None:
    """Let autograd see the parts of those that consist of differentiable operators."""
    for overload in _COMPOSITE_FOR_AUTOGRAD:
        library.impl(overload, COMPOSITES[overload], "AutogradPrivateUse1")
