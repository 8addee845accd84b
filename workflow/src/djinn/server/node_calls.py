"""A trace's nodes as calls: each operator with its operands as finished tensors, and a place for what it returns."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch

from djinn.core import TensorMeta, Trace, TraceNode, value_refs
from djinn.server.adoption import last_uses, out_form_of
from djinn.server.operand_trees import filled
from djinn.server.operators import Operator, OutForm, function_of, resolve
from djinn.server.slots import ExchangeableStorage
from djinn.server.steps import Guard, LetGo, TakeResults

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class NodeCalls:
    """The calls of one trace.

    Attributes:
        calls: functions with their operands in order of execution.
        written_inputs: numbers of inputs that they write to.
        uses_random_numbers: whether any operation draws from a generator.
        guard: the last operation that returns a Python value, if there is one.
        checks_data: whether any operation only raises or does nothing, depending on data.
    """

    def __init__(
        self,
        trace: Trace,
        tensors: list[torch.Tensor],
        device: torch.device,
        *,
        inputs: dict[int, int],
        constants: Collection[int],
        adopted: dict[int, ExchangeableStorage],
    ) -> None:
        """Resolve every operator.

        Args:
            trace: whose nodes are called.
            tensors: one for each of its values.
            device: where it runs.
            inputs: by storage, the number of the first input that views it.
            constants: storages whose elements are there already.
            adopted: storages that operators without `out=` form allocate.

        Raises:
            UnsupportedOperatorError: an operator that the server does not run.
            PlanError: arguments that an operator does not take.
        """
        self._trace = trace
        self._tensors = tensors
        self._device = device
        self._inputs = inputs
        self._constants = constants
        self._adopted = adopted
        self.calls: list[Call] = []
        self.written_inputs: set[int] = set()
        self.uses_random_numbers = False
        self.guard: Guard | None = None
        self.checks_data = False
        self._bind_nodes()

    def _bind_nodes(self) -> None:
        defined = {*self._inputs, *self._constants}
        read = {self._trace.values[index].storage for index in self._trace.outputs}
        for node in self._trace.nodes:
            read.update(self._trace.values[i].storage for i in value_refs((node.args, node.kwargs)))
        dying = last_uses(self._trace, set(self._adopted))
        for position, node in enumerate(self._trace.nodes):
            storages = [None if i is None else self._trace.values[i].storage for i in node.outputs]
            operator = resolve(node.operator)
            operator.check_arguments(node.args, node.kwargs)
            self.uses_random_numbers |= operator.uses_random_numbers and not _drops_nothing(operator, node)
            self.checks_data |= node.returns_nothing and not operator.written
            self._note_writes(operator, node)
            fresh = [s is not None and s not in defined for s in storages]
            if operator.returns_value:
                self._bind_guard(node, operator)
            elif any(fresh):
                self._bind_computation(node, operator, fresh, [s in read for s in storages])
            elif operator.written or node.returns_nothing:
                self.calls.append((function_of(operator.call), *self._operands(node, frozenset())))
            # Otherwise the node only makes views, and those exist already.
            defined.update(s for s in storages if s is not None)
            if position in dying:
                self.calls.append((LetGo([self._adopted[storage] for storage in dying[position]]), (), {}))

    def _bind_guard(self, node: TraceNode, operator: Operator) -> None:
        self.guard = Guard(operator.call._op, node)
        self.calls.append((self.guard, *self._operands(node, frozenset())))

    def _bind_computation(self, node: TraceNode, operator: Operator, fresh: list[bool], read: list[bool]) -> None:
        if node.operator == "aten.clone.default":
            self._bind_copy(node)
            return
        if node.operator == "aten.zeros_like.default":
            [zeros] = [self._tensors[index] for index in node.outputs if index is not None]
            self.calls.append((torch.ops.aten.zero_.default._op, (zeros,), {}))
            return
        form = out_form_of(self._trace, node)
        if form is not None and all(fresh):
            self.calls.append(self._call_into(node, form))
            return
        args, kwargs = self._operands(node, frozenset())
        wanted = [
            (position, index)
            for position, index in enumerate(node.outputs)
            if index is not None and fresh[position] and read[position]
        ]
        self.calls.append((self._taking(operator.call._op, wanted, is_single=len(node.outputs) == 1), args, kwargs))

    def _taking(self, call: Callable[..., Any], wanted: list[tuple[int, int]], *, is_single: bool) -> TakeResults:
        copied: list[tuple[int, torch.Tensor]] = []
        adopted: list[tuple[int, ExchangeableStorage, TensorMeta]] = []
        for position, index in wanted:
            value = self._trace.values[index]
            slot = self._adopted.get(value.storage)
            if slot is None:
                copied.append((position, self._tensors[index]))
            else:
                adopted.append((position, slot, value.meta))
        return TakeResults(call, copied, adopted, is_single=is_single)

    def _bind_copy(self, node: TraceNode) -> None:
        """Copy straight into the planned buffer, which has the layout that a clone would choose."""
        [buffer] = [self._tensors[index] for index in node.outputs if index is not None]
        (source, *_), _ = self._operands(node, frozenset())
        self.calls.append((function_of(torch.ops.aten.copy_.default), (buffer, source), {}))

    def _call_into(self, node: TraceNode, form: OutForm) -> Call:
        args, kwargs = self._operands(node, form.dropped)
        outs = [self._tensors[index] for index in node.outputs if index is not None]
        kwargs.update(zip(form.out_names, outs, strict=True))
        return function_of(form.call), args, kwargs

    def _operands(self, node: TraceNode, dropped: frozenset[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        kept = {name: value for name, value in node.kwargs.items() if name not in dropped}
        args, kwargs = filled((node.args, kept), self._tensors, self._device)
        return tuple(args), kwargs

    def _note_writes(self, operator: Operator, node: TraceNode) -> None:
        for index in operator.written_values(node.args, node.kwargs):
            storage = self._trace.values[index].storage
            if storage in self._inputs:
                self.written_inputs.add(self._inputs[storage])


def _drops_nothing(operator: Operator, node: TraceNode) -> bool:
    """Tell whether an operator draws random numbers for dropout only, and none is asked for."""
    for position, argument in enumerate(operator.call._schema.arguments):
        if argument.name == "dropout_p":
            return bool(
                (node.args[position] if position < len(node.args) else node.kwargs.get("dropout_p", 0.0)) == 0.0
            )
    return False
