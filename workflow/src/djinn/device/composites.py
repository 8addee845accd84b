"""Operators that consist of others in another way on this device than torch knows, in a plan as in a single operation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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


def _nested_tensor_from_mask_left_aligned(tensor: torch.Tensor, mask: torch.Tensor) -> bool:
    """Keep `nn.TransformerEncoder` from making a nested tensor, which this device does not hold."""
    return False


def _conj(source: torch.Tensor) -> Any:
    """Conjugate at once: torch only marks a view, and a plan's views are storage and strides, without marks.

    So what is written to the source afterwards is not seen in the result, nor the other way round, which torch's
    documentation asks programs not to rely on.
    """
    return aten._conj_physical.default(source)


def _neg_view(source: torch.Tensor) -> Any:
    """Negate at once, likewise; the imaginary part of a conjugate is what torch marks so."""
    return aten.neg.default(source)


# Functions of an operator's operands; one that returns NotImplemented leaves them to the operator itself.
COMPOSITES: dict[Any, Callable[..., Any]] = {
    aten.scaled_dot_product_attention.default: scaled_dot_product_attention,
    aten.histc.default: _histc,
    aten.ctc_loss.Tensor: _ctc_loss,
    aten._conj.default: _conj,
    aten._neg_view.default: _neg_view,
    aten._nested_tensor_from_mask_left_aligned.default: _nested_tensor_from_mask_left_aligned,
}
_COMPOSITE_FOR_AUTOGRAD = (aten.scaled_dot_product_attention.default, aten.ctc_loss.Tensor)
# torch calls them where nothing is differentiated any further.
_WHOLE_FOR_AUTOGRAD = (aten.silu_backward.default, aten.mish_backward.default)


def register(library: torch.library.Library) -> None:
    """Let autograd see the parts of those that consist of differentiable operators, and not of those that are left whole."""
    for overload in _COMPOSITE_FOR_AUTOGRAD:
        library.impl(overload, COMPOSITES[overload], "AutogradPrivateUse1")
    for overload in _WHOLE_FOR_AUTOGRAD:
        library.impl(overload, partial(run_whole, overload), "AutogradPrivateUse1")


def run_whole(overload: Any, *args: Any) -> Any:
    """Run a composite operator as one, which the server takes apart or not as it would for its own tensors."""
    with torch._C._AutoDispatchBelowAutograd():
        return overload(*args)
