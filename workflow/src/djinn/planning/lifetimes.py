"""When each storage of a trace is first written and last read."""

from __future__ import annotations

from dataclasses import dataclass

from djinn.core import Trace, value_refs


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A storage's bytes and the closed interval of node indices in which they are live."""

    storage: int
    num_bytes: int
    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        """Tell whether both are live at some node; a node's operands and results are live together."""
        return self.first <= other.last and other.first <= self.last


def activation_lifetimes(trace: Trace) -> list[Lifetime]:
    """Return the lifetimes of the storages that live only inside the call.

    Inputs belong to the caller, constants to the plan, and storages that outputs view outlive the call; none of them is
    among the storages returned.
    """
    constants = (index for index, _ in trace.constants)
    kept = {trace.values[index].storage for index in (*range(trace.num_inputs), *trace.outputs, *constants)}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, node in enumerate(trace.nodes):
        touched = [
            *value_refs(node.args),
            *value_refs(node.kwargs),
            *(i for i in node.outputs if i is not None),
        ]
        for storage in {trace.values[index].storage for index in touched}:
            first.setdefault(storage, position)
            last[storage] = position
    return [Lifetime(s, trace.storage_bytes[s], first[s], last[s]) for s in first if s not in kept]
