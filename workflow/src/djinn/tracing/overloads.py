"""What a recorder has to know of an operator's overload, looked up once each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

aten = torch.ops.aten

LITERALS = frozenset({aten.lift_fresh.default, aten.lift.default})
# Their data-dependent tag is for the sake of masks alone; as on every device, their indices may come from the host.
INDEXING = frozenset(
    {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
)
# Batch sizes of packed sequences lie on the host, whatever the device.
_PACKED = frozenset(
    {aten._pack_padded_sequence.default, aten._pack_padded_sequence_backward.default}
    | {aten.lstm.data, aten.gru.data, aten.rnn_tanh.data, aten.rnn_relu.data}
)
# They choose among kernels by device, so they are left to the server whole.
RECURRENT = frozenset(
    {aten.lstm.input, aten.lstm.data, aten.gru.input, aten.gru.data}
    | {aten.rnn_tanh.input, aten.rnn_tanh.data, aten.rnn_relu.input, aten.rnn_relu.data}
)
_COPYING = frozenset({aten.copy_.default, aten._to_copy.default})
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
        is_composite: whether it consists of other operators.
        takes_host_tensors: whether tensors with dimensions may come from the host.
        takes_host_scalars: whether tensors without may.
        depends_on_data: whether its result is not decided by metadata.
        returns_value: whether it returns a Python value instead of tensors.
        draws_numbers: whether it draws from a random generator.
        written: positions and names of the arguments that it writes to.
    """

    name: str
    is_composite: bool
    takes_host_tensors: bool
    takes_host_scalars: bool
    depends_on_data: bool
    returns_value: bool
    draws_numbers: bool
    written: tuple[tuple[int, str], ...]


@cache
def facts_of(overload: Any) -> Facts:
    """Return the facts about an overload."""
    schema, tags = overload._schema, overload.tags
    takes_host_tensors = overload in INDEXING | _PACKED | _COPYING
    return Facts(
        name=str(overload),
        is_composite=overload._can_decompose() and overload not in RECURRENT,
        takes_host_tensors=takes_host_tensors,
        takes_host_scalars=takes_host_tensors or overload in _SCALAR_TAKING or _is_elementwise(overload),
        depends_on_data=torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags,
        returns_value=not any("Tensor" in str(returned.type) for returned in schema.returns),
        draws_numbers=torch.Tag.nondeterministic_seeded in tags,
        written=tuple(
            (position, argument.name)
            for position, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ),
    )


def _is_elementwise(overload: Any) -> bool:
    return torch.Tag.pointwise in overload.tags or overload._schema.name.startswith(
        ("aten::_foreach_", "aten::_fused_")
    )


def depends_on_data(overload: Any, facts: Facts, operands: list[Any]) -> bool:
    """Tell whether what an operation returns is not decided by the metadata of its operands."""
    if overload in INDEXING:
        return overload is aten.index.Tensor and any(o.dtype in (torch.bool, torch.uint8) for o in operands[1:])
    return facts.depends_on_data
