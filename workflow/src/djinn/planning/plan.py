"""A trace together with the offsets of its activations."""

from __future__ import annotations

from dataclasses import dataclass

from djinn.core import Trace
from djinn.planning.lifetimes import activation_lifetimes
from djinn.planning.placement import Placement, place


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What the server needs to execute a module call.

    Attributes:
        trace: the operations.
        placement: offsets of activations in the Stack segment.
    """

    trace: Trace
    placement: Placement


def make_plan(trace: Trace) -> MemoryPlan:
    """Compute lifetimes and offsets for a trace."""
    return MemoryPlan(trace, place(activation_lifetimes(trace)))
