"""Recurrent layers choose fused kernels by device; here each runs whole on the server, which chooses as the CPU does.

Under autograd they are decomposed by torch's own rules, because a fused layer's derivative needs what only it kept; those
results agree with the CPU's to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import decompositions

from djinn.device.composites import run_whole
from djinn.errors import UnsupportedOperatorError

aten = torch.ops.aten

_DECOMPOSED: dict[Any, Callable[..., Any]] = {
    aten.lstm.input: decompositions.lstm_impl,
    aten.lstm.data: decompositions.lstm_data_impl,
    aten.gru.input: decompositions.gru_impl,
    aten.gru.data: decompositions.gru_impl_data,
    aten.rnn_tanh.input: decompositions.rnn_tanh_input,
    aten.rnn_tanh.data: decompositions.rnn_tanh_data,
    aten.rnn_relu.input: decompositions.rnn_relu_input,
    aten.rnn_relu.data: decompositions.rnn_relu_data,
}


def register(library: torch.library.Library) -> None:
    """Take the recurrent layers over."""
    for overload, decomposed in _DECOMPOSED.items():
        library.impl(overload, _kernel(overload, decomposed), "AutogradPrivateUse1")


def _kernel(overload: Any, decomposed: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in _tensors(args)):
            _refuse_dropout(overload, args)
            return decomposed(*args)
        return run_whole(overload, *args)

    return run


def _refuse_dropout(overload: Any, args: tuple[Any, ...]) -> None:
    """Refuse what torch's rules get wrong: they leave dropout between layers out."""
    named = dict(zip((argument.name for argument in overload._schema.arguments), args, strict=False))
    if named["train"] and named["dropout"] > 0 and named["num_layers"] > 1:
        raise UnsupportedOperatorError(
            f"Operator {overload} with dropout {named['dropout']} between layers is not differentiated on this device; "
            "set dropout to 0, or train on the CPU."
        )


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in _tensors(item)]
    return [value] if isinstance(value, torch.Tensor) else []
