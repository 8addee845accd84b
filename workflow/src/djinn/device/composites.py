"""Operators that consist of others in another way on this device than torch knows, in a plan as in a single operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from djinn.device import padding
from djinn.device.attention import scaled_dot_product_attention
from djinn.device.dropout import dropout

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


def _eigvalsh(source: torch.Tensor, UPLO: str = "L") -> Any:  # noqa: N803 - torch's name
    """Compute no vectors that only autograd needs; torch's rule would do so for all tensors of a class of their own."""
    return aten._linalg_eigh.default(source, UPLO, _records(source))[0]


def _svdvals(source: torch.Tensor, *, driver: str | None = None) -> Any:
    """Compute no vectors that only autograd needs, likewise."""
    return aten._linalg_svd.default(source, False, _records(source), driver=driver)[1]


def _records(tensor: torch.Tensor) -> bool:
    return torch.is_grad_enabled() and tensor.requires_grad


def _writing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the `out=` form of a function whose own rule would look for its `out` among what shares its storage."""

    def run(*args: Any, out: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        if torch.is_grad_enabled() and any(isinstance(a, torch.Tensor) and a.requires_grad for a in (*args, out)):
            raise RuntimeError("functions with out=... arguments don't support automatic differentiation")
        result = function(*args, **kwargs)
        may_be_cast = not result.is_floating_point() and torch.can_cast(result.dtype, out.dtype)
        if out.dtype != result.dtype and not may_be_cast:
            raise RuntimeError(f"Expected out tensor to have dtype {result.dtype}, but got {out.dtype} instead")
        return (out if out.shape == result.shape else out.resize_(result.shape)).copy_(result)

    return run


def _conj(source: torch.Tensor) -> Any:
    """Conjugate at once: torch only marks a view, and a plan's views are storage and strides, without marks.

    So what is written to the source afterwards is not seen in the result, nor the other way round, which torch's
    documentation asks programs not to rely on.
    """
    with _ordinary(source):
        return aten._conj_physical.default(source)


def _neg_view(source: torch.Tensor) -> Any:
    """Negate at once, likewise; the imaginary part of a conjugate is what torch marks so."""
    with _ordinary(source):
        return aten.neg.default(source)


@contextmanager
def _ordinary(source: torch.Tensor) -> Iterator[None]:
    """Make what torch takes for a view of a tensor from outside of inference mode there too, and record nothing."""
    if torch.is_inference_mode_enabled() and not source.is_inference():
        with torch.inference_mode(False), torch.no_grad():
            yield
    else:
        yield


# Functions of an operator's operands; one that returns NotImplemented leaves them to the operator itself.
COMPOSITES: dict[Any, Callable[..., Any]] = {
    aten.scaled_dot_product_attention.default: scaled_dot_product_attention,
    aten.dropout.default: dropout,
    aten.histc.default: _histc,
    aten.ctc_loss.Tensor: _ctc_loss,
    aten.linalg_eigvalsh.default: _eigvalsh,
    aten.linalg_svdvals.default: _svdvals,
    aten.matmul.out: _writing(aten.matmul.default),
    aten.linalg_matrix_rank.out: _writing(aten.linalg_matrix_rank.default),
    aten.linalg_matrix_rank.out_tol_tensor: _writing(aten.linalg_matrix_rank.tol_tensor),
    aten.linalg_matrix_rank.atol_rtol_tensor_out: _writing(aten.linalg_matrix_rank.atol_rtol_tensor),
    aten.linalg_matrix_rank.atol_rtol_float_out: _writing(aten.linalg_matrix_rank.atol_rtol_float),
    aten._conj.default: _conj,
    aten._neg_view.default: _neg_view,
    aten._nested_tensor_from_mask_left_aligned.default: padding.is_left_aligned,
    aten._nested_tensor_from_mask.default: padding.pack,
    aten._transformer_encoder_layer_fwd.default: padding.run_layer,
    aten.to_padded_tensor.default: padding.unpack,
}
# Those that torch would take apart before it asks the device.
_COMPOSITE_FOR_AUTOGRAD = frozenset(COMPOSITES) - {
    aten.histc.default,
    aten._conj.default,
    aten._neg_view.default,
    aten._nested_tensor_from_mask_left_aligned.default,
    aten._nested_tensor_from_mask.default,
    aten._transformer_encoder_layer_fwd.default,
    aten.to_padded_tensor.default,
}
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
