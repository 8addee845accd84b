"""What a recorder has to know of an operator's overload, looked up once each."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

aten = torch.ops.aten
_HERE = nullcontext()
_overloads: dict[str, Any] = {}
_ANY_DEVICE = torch._C.DispatchKey.CompositeExplicitAutograd

LITERALS = frozenset({aten.lift_fresh.default, aten.lift.default})
# Their data-dependent tag is for the sake of masks alone; as on every device, their indices may come from the host.
INDEXING = frozenset(
    {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
)
# They choose among kernels by device or have one of their own on the CPU, so they are left to the server whole.
_WHOLE = frozenset(
    {aten.lstm.input, aten.lstm.data, aten.gru.input, aten.gru.data}
    | {aten.rnn_tanh.input, aten.rnn_tanh.data, aten.rnn_relu.input, aten.rnn_relu.data}
    | {aten.lstm_cell.default, aten.gru_cell.default}
    | {aten.silu_backward.default, aten.mish_backward.default}
)
# Positions of operands with dimensions that may come from the host, whatever the device: indices, lengths, what is copied.
_HOST_POSITIONS: dict[Any, frozenset[int]] = {
    **dict.fromkeys(INDEXING, frozenset({1})),
    aten._pack_padded_sequence.default: frozenset({1}),
    aten._pack_padded_sequence_backward.default: frozenset({2}),
    aten.lstm.data: frozenset({1}),
    aten.gru.data: frozenset({1}),
    aten.rnn_tanh.data: frozenset({1}),
    aten.rnn_relu.data: frozenset({1}),
    aten.copy_.default: frozenset({1}),
    aten._to_copy.default: frozenset({0}),
}
# Beside elementwise operators, those that take a number as a tensor.
_SCALAR_TAKING = frozenset(
    {aten.fill.Tensor, aten.fill_.Tensor, aten.masked_fill.Tensor, aten.masked_fill_.Tensor}
    | {aten.index_fill.int_Tensor, aten.index_fill_.int_Tensor, aten.rsub.Tensor}
    | {aten.floor_divide.default, aten.floor_divide_.Tensor, aten.floor_divide.out}
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about one overload.

    Attributes:
        name: its full name.
        num_returned: how many results its schema has; a list counts as one.
        is_composite: whether it consists of other operators.
        host_positions: of operands with dimensions that may come from the host.
        takes_host_scalars: whether tensors without dimensions may.
        depends_on_data: whether its result is not decided by metadata.
        returns_value: whether it returns a Python value instead of tensors.
        draws_numbers: whether it draws from a random generator.
        is_view: whether its results may be views of its first operand.
        written: positions and names of the arguments that it writes to.
        reshapes: whether it changes the metadata of its first operand.
    """

    name: str
    num_returned: int
    is_composite: bool
    host_positions: frozenset[int]
    takes_host_scalars: bool
    depends_on_data: bool
    returns_value: bool
    draws_numbers: bool
    is_view: bool
    written: tuple[tuple[int, str], ...]
    reshapes: bool


@cache
def facts_of(overload: Any) -> Facts:
    """Return the facts about an overload."""
    schema, tags = overload._schema, overload.tags
    _overloads[str(overload)] = overload
    returns_value = bool(schema.returns) and not any("Tensor" in str(returned.type) for returned in schema.returns)
    return Facts(
        name=str(overload),
        num_returned=len(schema.returns),
        is_composite=(overload._can_decompose() and overload not in _WHOLE) or _is_python_for_any_device(overload),
        host_positions=_HOST_POSITIONS.get(overload, frozenset()),
        takes_host_scalars=overload in _SCALAR_TAKING | INDEXING or _is_elementwise(overload),
        depends_on_data=returns_value
        or torch.Tag.data_dependent_output in tags
        or torch.Tag.dynamic_output_shape in tags,
        returns_value=returns_value,
        draws_numbers=torch.Tag.nondeterministic_seeded in tags,
        is_view=any(returned.alias_info and not returned.alias_info.is_write for returned in schema.returns),
        written=tuple(
            (position, argument.name)
            for position, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ),
        reshapes=torch.Tag.inplace_view in tags,
    )


def overload_of(name: str) -> Any:
    """Return the overload of this full name, about which facts were asked before."""
    return _overloads[name]


def decompose(overload: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run what a composite operator consists of; NotImplemented where it stays whole after all."""
    if overload._can_decompose():
        return overload.decompose(*args, **kwargs)
    return overload._op_dk(_ANY_DEVICE, *args, **kwargs)


def _is_python_for_any_device(overload: Any) -> bool:
    """Tell whether an operator is somebody's own, written for all devices, as `torch.library.custom_op` makes them."""
    return overload.namespace != "aten" and torch._C._dispatch_has_kernel_for_dispatch_key(overload.name(), _ANY_DEVICE)


def result_scope(facts: Facts, args: tuple[Any, ...]) -> AbstractContextManager[Any]:
    """Return the scope in which wrappers of an operation's results have to be made.

    Under inference mode a view of a tensor from outside of it is an ordinary tensor, and torch takes no other for it.
    """
    if facts.is_view and torch.is_inference_mode_enabled() and not args[0].is_inference():
        return torch.inference_mode(False)
    return _HERE


def misplaced_operand(facts: Facts, args: tuple[Any, ...], kwargs: dict[str, Any], device: torch.device) -> Any:
    """Return an operand that would have to lie on `device` and does not, or None."""
    written_positions = {position for position, _ in facts.written}
    written_names = {name for _, name in facts.written}
    for place, operand in (*enumerate(args), *kwargs.items()):
        may_be_scalar = facts.takes_host_scalars and place not in written_positions and place not in written_names
        for tensor in operand if isinstance(operand, tuple | list) else (operand,):
            if not isinstance(tensor, torch.Tensor) or tensor.device == device:
                continue
            may_lie_there = place in facts.host_positions or (may_be_scalar and tensor.dim() == 0)
            if tensor.device.type != "cpu" or not may_lie_there:
                return tensor
    return None


def _is_elementwise(overload: Any) -> bool:
    return torch.Tag.pointwise in overload.tags or overload._schema.name.startswith(
        ("aten::_foreach_", "aten::_fused_")
    )


def depends_on_data(overload: Any, facts: Facts, operands: list[Any]) -> bool:
    """Tell whether what an operation returns is not decided by the metadata of its operands."""
    if overload in INDEXING:
        return overload is aten.index.Tensor and any(o.dtype in (torch.bool, torch.uint8) for o in operands[1:])
    return facts.depends_on_data
