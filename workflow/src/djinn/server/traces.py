"""The trace that a request describes."""

from __future__ import annotations

from djinn.core import TensorMeta, Trace, TraceNode, TraceValue
from djinn.planning.validation import check_trace
from djinn.protocol import messages as m
from djinn.server.elements import default_dtype, dtype, host_constant


def trace_of(request: m.MakePlan) -> Trace:
    """Return the trace that shall become a plan.

    Raises:
        PlanError: one that refers to what it does not have, or that cannot be executed.
    """
    values = tuple(TraceValue(TensorMeta(v[0], v[1], dtype(v[2]), v[3]), v[4]) for v in request.values)
    nodes = tuple(TraceNode(n[0], tuple(n[1]), n[2], tuple(n[3]), n[4]) for n in request.nodes)
    trace = Trace(
        values,
        tuple(request.storage_bytes),
        nodes,
        tuple(request.outputs),
        request.num_inputs,
        tuple((index, host_constant(values, index, content)) for index, content in request.constants),
        default_dtype=default_dtype(request.default_dtype_code),
    )
    check_trace(trace)
    return trace
