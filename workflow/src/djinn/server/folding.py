"""Computes once, when a plan is made, what each call would compute again: operations that read no tensor.

Models make masks and positions in their forward (`torch.arange`, `torch.full`); their values are the same at every call.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from djinn.core import TensorMeta, Trace, TraceNode, value_refs
from djinn.server.operand_trees import filled
from djinn.server.operators import resolve

# Larger results are cheaper to compute again than to keep for every plan.
MAX_FOLDED_BYTES = 1 << 20


def fold_constants(trace: Trace, device: torch.device) -> Trace:
    """Return a trace in which what reads no tensor is a constant.

    Results that the call returns or writes to are left alone: each call needs its own.

    Raises:
        UnsupportedOperatorError: an operator that the server does not run.
    """
    own = _storages_of_each_call(trace)
    constants = list(trace.constants)
    nodes: list[TraceNode] = []
    for node in trace.nodes:
        folded = _fold(trace, node, own, device)
        if folded is None:
            nodes.append(node)
        else:
            constants.append(folded)
    return replace(trace, nodes=tuple(nodes), constants=tuple(constants))


def _storages_of_each_call(trace: Trace) -> set[int]:
    """Return the storages that the call returns or writes to."""
    found = {trace.values[index].storage for index in trace.outputs}
    for node in trace.nodes:
        for position, name in resolve(node.operator).written:
            operand = node.args[position] if position < len(node.args) else node.kwargs.get(name)
            found.update(trace.values[index].storage for index in value_refs(operand))
    return found


def _fold(trace: Trace, node: TraceNode, own: set[int], device: torch.device) -> tuple[int, torch.Tensor] | None:
    operator = resolve(node.operator)
    reads_tensors = next(value_refs((node.args, node.kwargs)), None) is not None
    if reads_tensors or operator.uses_random_numbers or operator.returns_value:
        return None
    if len(node.outputs) != 1 or node.outputs[0] is None:
        return None
    value = trace.values[node.outputs[0]]
    if value.storage in own or trace.storage_bytes[value.storage] > MAX_FOLDED_BYTES:
        return None
    with torch.inference_mode():
        args, kwargs = filled((node.args, node.kwargs), (), device)
        result = operator.call(*args, **kwargs)
    return (node.outputs[0], result) if TensorMeta.of(result) == value.meta else None
