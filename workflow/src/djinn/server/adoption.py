"""Which results of a plan stay where operators allocate them, because these cannot write into planned buffers."""

from __future__ import annotations

from djinn.core import Trace, TraceNode, value_refs
from djinn.planning.lifetimes import activation_lifetimes
from djinn.server.operators import OutForm, minds_strides, out_form, resolve

# Operators without `out=` form for which there is another that writes into a planned buffer.
_FILLS_PLANNED = frozenset({"aten.clone.default", "aten.zeros_like.default"})


def out_form_of(trace: Trace, node: TraceNode) -> OutForm | None:
    """Return the `out=` form of a node's operator, if it has one that is right here and writes to no operand."""
    if resolve(node.operator).written:
        return None
    form = out_form(node.operator)
    if form is not None and minds_strides(node.operator):
        operands = (trace.values[index].meta for index in value_refs((node.args, node.kwargs)))
        return form if all(meta.is_row_major for meta in operands) else None
    return form


def adopted_storages(trace: Trace, min_bytes: int | None) -> set[int]:
    """Return the storages of at least `min_bytes` that operators without `out=` form allocate; None stands for no size."""
    if min_bytes is None:
        return set()
    known = {trace.values[index].storage for index in range(trace.num_inputs)}
    known |= {trace.values[index].storage for index, _ in trace.constants}
    found: set[int] = set()
    for node in trace.nodes:
        storages = [None if i is None else trace.values[i].storage for i in node.outputs]
        fresh = {s for s in storages if s is not None and s not in known}
        fills_planned = node.operator in _FILLS_PLANNED or (
            out_form_of(trace, node) is not None and len(fresh) == len(storages)
        )
        if not fills_planned:
            found |= {storage for storage in fresh if trace.storage_bytes[storage] >= min_bytes}
        known |= fresh
    return found


def last_uses(trace: Trace, adopted: set[int]) -> dict[int, list[int]]:
    """Return, by the position of a node, the adopted storages that nothing needs after it."""
    dying: dict[int, list[int]] = {}
    for lifetime in activation_lifetimes(trace) if adopted else []:
        if lifetime.storage in adopted:
            dying.setdefault(lifetime.last, []).append(lifetime.storage)
    return dying
