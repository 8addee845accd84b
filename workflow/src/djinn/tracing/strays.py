"""What a simulation computed from nothing but constants, computed for real: tables that forward keeps, in a cache say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from djinn.core import Trace, TraceNode, ValueRef, value_refs
from djinn.tracing.overloads import facts_of, overload_of


def compute_constants(trace: Trace, device: torch.device) -> dict[int, torch.Tensor]:
    """Compute those values of a trace that neither inputs nor random numbers nor elements that were looked up decide.

    All of them at once and in order, since operations may write to what others have read. Wherever the caller is: on
    the device, or in another simulation.

    Args:
        trace: what was recorded.
        device: where its values lie.

    Returns:
        Tensors by number of their value.
    """
    computed = {number: torch.ops.aten._to_copy.default(host, device=device) for number, host in trace.constants}
    storages = [value.storage for value in trace.values]
    undecided = set(storages[: trace.num_inputs])
    for node in trace.nodes:
        changed = {storages[number] for number in node.outputs if number is not None} | written_storages(node, storages)
        facts = facts_of(overload_of(node.operator))
        read = {storages[index] for index in value_refs((node.args, node.kwargs))}
        if facts.draws_numbers or facts.returns_value or not undecided.isdisjoint(read | changed):
            undecided |= changed
            continue
        result = overload_of(node.operator)(*_with(computed, node.args), **_with(computed, node.kwargs))
        results = result if isinstance(result, tuple | list) else (result,)
        computed |= {n: r for n, r in zip(node.outputs, results, strict=True) if n is not None}
    return {number: tensor for number, tensor in computed.items() if storages[number] not in undecided}


def written_storages(node: TraceNode, storages: Sequence[int]) -> set[int]:
    """Return the storages that an operation writes to, given those of the trace's values."""
    written: set[int] = set()
    for position, name in facts_of(overload_of(node.operator)).written:
        operand = node.args[position] if position < len(node.args) else node.kwargs.get(name)
        written |= {storages[index] for index in value_refs(operand)}
    return written


def _with(computed: Mapping[int, torch.Tensor], operand: Any) -> Any:
    """Return an operand tree with tensors in place of references."""
    if isinstance(operand, ValueRef):
        return computed[operand.index]
    if isinstance(operand, dict):
        return {name: _with(computed, item) for name, item in operand.items()}
    return tuple([_with(computed, item) for item in operand]) if isinstance(operand, tuple | list) else operand
