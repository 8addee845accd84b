"""Refuses traces that contradict themselves, before any memory is planned or bound for them.

A trace comes from another process. Everything that later stages index by, or size memory with, is checked here once.
"""

from __future__ import annotations

from djinn.core import Trace, TraceNode, TraceValue, value_refs
from djinn.errors import PlanError

MAX_VALUES = 1 << 20
MAX_DIMENSIONS = 64
MAX_STORAGE_BYTES = 1 << 48


def check_trace(trace: Trace) -> None:
    """Check that every reference has a target that is defined before, and that every value lies inside its storage.

    Raises:
        PlanError: it does not, or the trace exceeds a cap.
    """
    if max(len(trace.values), len(trace.nodes), len(trace.storage_bytes)) > MAX_VALUES:
        raise PlanError(f"A trace of more than {MAX_VALUES} values, operations or storages is refused; split the call.")
    if not 0 <= trace.num_inputs <= len(trace.values):
        raise PlanError(f"A trace of {len(trace.values)} values names {trace.num_inputs} inputs; trace the call again.")
    for num_bytes in trace.storage_bytes:
        if not 0 <= num_bytes <= MAX_STORAGE_BYTES:
            raise PlanError(f"A storage of {num_bytes} bytes is refused; the cap is {MAX_STORAGE_BYTES}.")
    for index, value in enumerate(trace.values):
        _check_value(trace, index, value)
    _check_references(trace)


def _check_value(trace: Trace, index: int, value: TraceValue) -> None:
    meta = value.meta
    if not len(meta.shape) == len(meta.strides) <= MAX_DIMENSIONS:
        raise PlanError(f"Value {index} has shape {meta.shape} and strides {meta.strides}; trace the call again.")
    if min((*meta.shape, *meta.strides, meta.storage_offset)) < 0:
        raise PlanError(f"Value {index} has negative sizes, {meta}; trace the call again.")
    if not 0 <= value.storage < len(trace.storage_bytes):
        raise PlanError(f"Value {index} lies in storage {value.storage}, which does not exist; trace the call again.")
    if meta.extent_bytes > trace.storage_bytes[value.storage]:
        raise PlanError(
            f"Value {index} reaches byte {meta.extent_bytes} of a storage of {trace.storage_bytes[value.storage]}; "
            "trace the call again."
        )


def _check_references(trace: Trace) -> None:
    defined = set(range(trace.num_inputs))
    for index, content in trace.constants:
        if not trace.num_inputs <= index < len(trace.values) or index in defined:
            raise PlanError(f"Constant {index} is no value of the trace's own; trace the call again.")
        if content.nbytes < trace.values[index].meta.extent_bytes:
            raise PlanError(
                f"Constant {index} has {content.nbytes} bytes, too few for its value; trace the call again."
            )
        defined.add(index)
    for position, node in enumerate(trace.nodes):
        _check_node(trace, position, node, defined)
    unknown = set(trace.outputs) - defined
    if unknown:
        raise PlanError(f"The outputs {sorted(unknown)} are never computed; trace the call again.")


def _check_node(trace: Trace, position: int, node: TraceNode, defined: set[int]) -> None:
    for index in value_refs((node.args, node.kwargs)):
        if index not in defined:
            raise PlanError(f"Operation {position} ({node.operator}) reads value {index} before it is computed.")
    for output in node.outputs:
        if output is None:
            continue
        if not 0 <= output < len(trace.values):
            raise PlanError(f"Operation {position} ({node.operator}) returns value {output}, which does not exist.")
        defined.add(output)
