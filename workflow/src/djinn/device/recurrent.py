"""Recurrent layers choose fused kernels by device; here each runs whole on the server, which chooses as the CPU does.

Under autograd they are decomposed by torch's own rules, because a fused layer's derivative needs what only it kept; those
results agree with the CPU's to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import decompositions
from torch.nn.functional import linear

from djinn.device.composites import run_whole
from djinn.errors import UnsupportedOperatorError

aten = torch.ops.aten


def _lstm_cell(
    value: torch.Tensor,
    state: list[torch.Tensor],
    input_weight: torch.Tensor,
    hidden_weight: torch.Tensor,
    input_bias: torch.Tensor | None = None,
    hidden_bias: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute what the CPU does, in its order."""
    hidden, cell = state
    gates = linear(hidden, hidden_weight, hidden_bias).add_(linear(value, input_weight, input_bias))
    input_gate, forget_gate, cell_gate, output_gate = gates.unsafe_chunk(4, 1)
    cell = (forget_gate.sigmoid_() * cell).add_(input_gate.sigmoid_() * cell_gate.tanh_())
    return output_gate.sigmoid_() * cell.tanh(), cell


def _gru_cell(
    value: torch.Tensor,
    hidden: torch.Tensor,
    input_weight: torch.Tensor,
    hidden_weight: torch.Tensor,
    input_bias: torch.Tensor | None = None,
    hidden_bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute what the CPU does, in its order."""
    from_value = linear(value, input_weight, input_bias).unsafe_chunk(3, 1)
    from_hidden = linear(hidden, hidden_weight, hidden_bias).unsafe_chunk(3, 1)
    reset_gate = from_hidden[0].add_(from_value[0]).sigmoid_()
    input_gate = from_hidden[1].add_(from_value[1]).sigmoid_()
    new_gate = from_value[2].add(from_hidden[2].mul_(reset_gate)).tanh_()
    return (hidden - new_gate).mul_(input_gate).add_(new_gate)


_DECOMPOSED: dict[Any, Callable[..., Any]] = {
    aten.lstm.input: decompositions.lstm_impl,
    aten.lstm.data: decompositions.lstm_data_impl,
    aten.lstm_cell.default: _lstm_cell,
    aten.gru_cell.default: _gru_cell,
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
    if named.get("train") and named["dropout"] > 0 and named["num_layers"] > 1:
        raise UnsupportedOperatorError(
            f"Operator {overload} with dropout {named['dropout']} between layers is not differentiated on this device; "
            "set dropout to 0, or train on the CPU."
        )


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in _tensors(item)]
    return [value] if isinstance(value, torch.Tensor) else []
