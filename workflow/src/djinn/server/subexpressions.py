"""Computes once what a call computes several times: equal operations on operands of equal content.

Every layer of a model may make the same mask from the same positions. The method is value numbering (Cocke and Schwartz,
"Programming Languages and Their Compilers", 1970) on the contents of storages, because operations write in place: a content is
numbered by the operation that made it and the numbers of what that read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from djinn.core import Trace, TraceNode, ValueRef, value_refs
from djinn.server.operators import resolve

# A larger result is cheaper to compute again than to hold until its last use.
MAX_SHARED_BYTES = 1 << 20


@dataclass(slots=True)
class _Storage:
    """What happens to one storage in the course of a call.

    Attributes:
        changes, contents: positions of the nodes that made or changed it, and the number of its content after each.
        readers, writers: positions of the nodes that read its elements, and of those that write to it.
        is_own: whether only the call itself knows it, and one operation without further results makes it.
    """

    changes: list[int] = field(default_factory=list)
    contents: list[int] = field(default_factory=list)
    readers: list[int] = field(default_factory=list)
    writers: list[int] = field(default_factory=list)
    is_own: bool = False

    def content_before(self, position: int) -> int | None:
        """Return the number of its content when the node at `position` begins."""
        found = bisect_right(self.changes, position - 1)
        return self.contents[found - 1] if found else None


def share_subexpressions(trace: Trace) -> Trace:
    """Return a trace without the operations whose results another storage holds whenever they are read.

    Raises:
        UnsupportedOperatorError: an operator that the server does not run.
    """
    numbering = _Numbering(trace)
    leaders: dict[int, int] = {}
    shared: dict[int, int] = {}
    dropped: set[int] = set()
    for number, storage in numbering.storages.items():
        if not storage.is_own:
            continue
        leader = leaders.setdefault(storage.contents[0], number)
        if leader != number and numbering.holds(leader, number):
            shared[number] = leader
            dropped.update((storage.changes[0], *storage.writers))
    if not shared:
        return trace
    return replace(
        trace,
        values=tuple(replace(value, storage=shared.get(value.storage, value.storage)) for value in trace.values),
        nodes=tuple(node for position, node in enumerate(trace.nodes) if position not in dropped),
    )


class _Numbering:
    """The history of every storage of a trace; those that the call makes come in the order of their making."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._numbers: dict[Any, int] = {}
        self._written: list[set[int]] = []
        self.storages: defaultdict[int, _Storage] = defaultdict(_Storage)
        given = (*range(trace.num_inputs), *(index for index, _ in trace.constants))
        for index in given:
            storage = self.storages[trace.values[index].storage]
            if not storage.changes:
                storage.changes.append(-1)
                storage.contents.append(self._number(("given", index)))
        self._returned = {trace.values[index].storage for index in trace.outputs}
        for position, node in enumerate(trace.nodes):
            self._take(position, node)

    def holds(self, leader: int, follower: int) -> bool:
        """Tell whether `leader` has the content of `follower` whenever that is read, and nothing else needs the latter's writers."""
        kept, gone = self.storages[leader], self.storages[follower]
        for position in gone.writers:
            outputs = (i for i in self._trace.nodes[position].outputs if i is not None)
            if self._written[position] != {follower} or {self._trace.values[i].storage for i in outputs} - {follower}:
                return False
        return all(
            kept.content_before(position) == gone.content_before(position) and leader not in self._written[position]
            for position in gone.readers
            if position not in gone.writers
        )

    def _take(self, position: int, node: TraceNode) -> None:
        """Number what one operation makes and writes."""
        operator, written = resolve(node.operator), self._storages_written(node)
        self._written.append(written)
        outputs = [None if i is None else self._trace.values[i].storage for i in node.outputs]
        fresh = {s for s in outputs if s is not None and s not in self.storages}
        if not (fresh or written or operator.returns_value or node.returns_nothing):
            return  # views read no element
        is_repeatable = not (operator.uses_random_numbers or operator.returns_value)
        key = (node.operator, self._key(node.args), self._key(node.kwargs)) if is_repeatable else position
        read = [self._trace.values[index].storage for index in value_refs((node.args, node.kwargs))]
        for storage in set(read):
            self.storages[storage].readers.append(position)
        for storage in written:
            self.storages[storage].writers.append(position)
            self._note(storage, position, (key, "writes", read.index(storage)))
        for made in fresh:
            num_bytes = self._trace.storage_bytes[made]
            self._note(made, position, (key, "makes", outputs.index(made), num_bytes))
            is_alone = len(outputs) == 1 and not written and is_repeatable
            self.storages[made].is_own = is_alone and num_bytes <= MAX_SHARED_BYTES and made not in self._returned

    def _note(self, storage: int, position: int, content: Any) -> None:
        history = self.storages[storage]
        history.changes.append(position)
        history.contents.append(self._number(content))

    def _number(self, content: Any) -> int:
        return self._numbers.setdefault(content, len(self._numbers))

    def _storages_written(self, node: TraceNode) -> set[int]:
        found: set[int] = set()
        for position, name in resolve(node.operator).written:
            operand = node.args[position] if position < len(node.args) else node.kwargs.get(name)
            found.update(self._trace.values[index].storage for index in value_refs(operand))
        return found

    def _key(self, operand: Any) -> Any:
        """Return what an operation's result depends on: numbers of contents and how they are viewed, and types beside scalars."""
        if isinstance(operand, ValueRef):
            value = self._trace.values[operand.index]
            return value.meta, self.storages[value.storage].contents[-1]
        if isinstance(operand, tuple | list):
            return tuple(self._key(item) for item in operand)
        if isinstance(operand, dict):
            return tuple((name, self._key(item)) for name, item in sorted(operand.items()))
        return type(operand), repr(operand)  # 0.0 and -0.0 are equal, as are 1 and True, but do not compute the same
