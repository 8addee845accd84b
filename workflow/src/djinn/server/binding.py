"""A plan bound to memory: every operation with its operands as finished tensors, ready to be replayed.

Views cost nothing here: a value that aliases another is a tensor of its own metadata over the same storage, made
once. What changes from call to call are storages: of arguments, because the caller passes new tensors, and of
outputs, because the caller still holds the last ones. Both are exchanged by pointing the bound tensors elsewhere,
without copying any bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from djinn.core import TensorMeta, TraceNode, ValueRef
from djinn.errors import GuardError, OutOfMemoryError, PlanError
from djinn.memory.region import Region
from djinn.planning.lifetimes import value_refs
from djinn.planning.plan import MemoryPlan
from djinn.protocol.operands import OwnDevice
from djinn.server.operators import Operator, OutForm, out_form, resolve
from djinn.server.table import Entry

# A bound tensor with its share of operands and calls, measured as growth of resident memory over 200 plans.
_TENSOR_BYTES = 2_048

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


@dataclass(slots=True)
class ExchangeableStorage:
    """The bound tensors over a storage that differs between calls, with their metadata."""

    tensors: list[tuple[torch.Tensor, TensorMeta]] = field(default_factory=list)

    def point_at(self, storage: torch.UntypedStorage, base_offset: int) -> None:
        """Move every bound tensor to `storage`, whose first planned element lies at `base_offset`."""
        for tensor, meta in self.tensors:
            tensor.set_(storage, base_offset + meta.storage_offset, meta.shape, meta.strides)


@dataclass(slots=True)
class InputSlot(ExchangeableStorage):
    """An argument or weight: bound to whatever tensor the call names."""

    source: torch.Tensor | None = None
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32

    def expect(self, meta: TensorMeta) -> None:
        """Note the metadata that is planned for."""
        self.shape, self.strides, self.dtype = meta.shape, meta.strides, meta.dtype

    def bind(self, source: torch.Tensor) -> None:
        """Use `source`.

        Raises:
            PlanError: it has other metadata than was planned for.
        """
        if self.source is not source:
            if source.shape != self.shape or source.stride() != self.strides or source.dtype != self.dtype:
                raise PlanError(
                    f"A plan for {self.dtype} {self.shape} was given {source.dtype} {tuple(source.shape)}; plan the call again."
                )
            self.point_at(source.untyped_storage(), int(source.storage_offset()))
            self.source = source


@dataclass(slots=True)
class OutputSlot(ExchangeableStorage):
    """A result: its storage is replaced before the next call if the caller still holds it."""

    storage: torch.UntypedStorage = field(default_factory=lambda: torch.UntypedStorage(0))
    num_own_references: int = 0

    def renew(self, num_bytes: int, device: torch.device) -> None:
        """Take a fresh storage and note how many references the binding itself holds."""
        self.storage = torch.UntypedStorage(num_bytes, device=device)
        self.point_at(self.storage, 0)
        self.num_own_references = self._num_references()

    def renew_if_held(self, device: torch.device) -> None:
        """Take a fresh storage if a tensor outside the binding still views this one."""
        if self._num_references() > self.num_own_references:
            self.renew(self.storage.nbytes(), device)

    def _num_references(self) -> int:
        return int(torch._C._storage_Use_Count(self.storage._cdata))


class Binding:
    """A plan over the Stack segment from its base, ready for any arguments of the planned metadata.

    Attributes:
        calls: functions with their operands in order of execution.
        inputs: one slot for each input storage, by the number of the first input that views it.
        outputs: one slot for each storage that only outputs keep.
        written_inputs: numbers of inputs that the plan writes to.
        uses_random_numbers: whether any operation draws from a generator.
        guard: the last operation that returns a Python value, if there is one.
    """

    def __init__(self, plan: MemoryPlan, stack: Region, device: torch.device) -> None:
        """Resolve every operator and make every operand.

        Raises:
            UnsupportedOperatorError: an operator that the server does not run.
            OutOfMemoryError: a result that could never be held.
        """
        self._plan = plan
        self._trace = plan.trace
        self._stack = stack
        self._device = device
        self._input_by_storage: dict[int, int] = {}
        for index in range(self._trace.num_inputs):
            self._input_by_storage.setdefault(self._trace.values[index].storage, index)
        self._constants = {self._trace.values[i].storage: tensor.to(device) for i, tensor in self._trace.constants}
        self.inputs = {index: InputSlot() for index in self._input_by_storage.values()}
        for index, input_slot in self.inputs.items():
            input_slot.expect(self._trace.values[index].meta)
        self._weights_bound_at = -1
        output_storages = {self._trace.values[index].storage for index in self._trace.outputs}
        self.outputs = {
            storage: OutputSlot() for storage in output_storages - set(self._input_by_storage) - set(self._constants)
        }
        self._tensors = [self._make_tensor(index) for index in range(len(self._trace.values))]
        for storage, slot in self.outputs.items():
            num_bytes = self._trace.storage_bytes[storage]
            if num_bytes > stack.capacity_bytes:
                raise OutOfMemoryError(
                    f"A plan returns a tensor of {num_bytes} bytes, more than the Stack segment's {stack.capacity_bytes}; "
                    "use a smaller input or raise GENIE_STACK_MB."
                )
            slot.renew(num_bytes, device)
        self.calls: list[Call] = []
        self.written_inputs: set[int] = set()
        self.uses_random_numbers = False
        self.guard: Guard | None = None
        self._bind_nodes()

    def prepare(self, weights: list[Entry], arguments: list[Entry], num_moves: int) -> None:
        """Bind this call's inputs and make sure that no earlier result is overwritten.

        Args:
            weights: the leading inputs, the same at every call.
            arguments: the others.
            num_moves: how often any tensor got other memory; weights are bound again only after that.
        """
        first = len(weights)
        if num_moves != self._weights_bound_at:
            for index, slot in self.inputs.items():
                if index < first:
                    slot.bind(weights[index].tensor)
            self._weights_bound_at = num_moves
        for number, entry in enumerate(arguments, start=first):
            argument = self.inputs.get(number)
            if argument is not None:
                argument.bind(entry.tensor)
        for output in self.outputs.values():
            output.renew_if_held(self._device)

    @property
    def held_bytes(self) -> int:
        """Memory that the binding keeps beside the Stack: bound tensors and the storages of its results."""
        return len(self._tensors) * _TENSOR_BYTES + sum(slot.storage.nbytes() for slot in self.outputs.values())

    @property
    def num_outputs(self) -> int:
        """How many tensors a replay returns."""
        return len(self._trace.outputs)

    @property
    def may_return_inputs(self) -> bool:
        """Whether an output views an input, whose memory it then keeps."""
        return any(self._trace.values[index].storage in self._input_by_storage for index in self._trace.outputs)

    def take_outputs(self) -> list[torch.Tensor]:
        """Return new tensors over the current storages of the outputs."""
        return [self._tensors[index].detach() for index in self._trace.outputs]

    def _make_tensor(self, index: int) -> torch.Tensor:
        value = self._trace.values[index]
        slot: ExchangeableStorage | None = self.outputs.get(value.storage)
        base_offset = 0
        if value.storage in self._input_by_storage:
            number = self._input_by_storage[value.storage]
            slot, base_offset = self.inputs[number], self._trace.values[number].meta.storage_offset
        if value.storage in self._constants:
            source = self._constants[value.storage]
            return source.as_strided(value.meta.shape, value.meta.strides, value.meta.storage_offset)
        if slot is None:
            return self._stack.tensor(self._plan.placement.offsets[value.storage], value.meta)
        tensor = torch.empty(0, dtype=value.meta.dtype, device=self._device)
        relative = TensorMeta(
            value.meta.shape, value.meta.strides, value.meta.dtype, value.meta.storage_offset - base_offset
        )
        slot.tensors.append((tensor, relative))
        return tensor

    def _bind_nodes(self) -> None:
        defined = {*self._input_by_storage, *self._constants}
        read = {self._trace.values[index].storage for index in self._trace.outputs}
        for node in self._trace.nodes:
            read.update(self._trace.values[i].storage for i in value_refs((node.args, node.kwargs)))
        for node in self._trace.nodes:
            storages = [None if i is None else self._trace.values[i].storage for i in node.outputs]
            operator = resolve(node.operator)
            self.uses_random_numbers |= operator.uses_random_numbers and not _drops_nothing(operator, node)
            self._note_writes(operator, node)
            fresh = [s is not None and s not in defined for s in storages]
            if operator.returns_value:
                self._bind_guard(node, operator)
            elif any(fresh):
                self._bind_computation(node, operator, fresh, [s in read for s in storages])
            elif operator.written:
                self.calls.append((operator.call._op, *self._operands(node, frozenset())))
            # Otherwise the node only makes views, and those exist already.
            defined.update(s for s in storages if s is not None)

    def _bind_guard(self, node: TraceNode, operator: Operator) -> None:
        self.guard = Guard(operator.call._op, node)
        self.calls.append((self.guard, *self._operands(node, frozenset())))

    def _bind_computation(self, node: TraceNode, operator: Operator, fresh: list[bool], read: list[bool]) -> None:
        if node.operator == "aten.clone.default":
            self._bind_copy(node)
            return
        form = None if operator.written else out_form(node.operator)
        if form is not None and all(fresh):
            self.calls.append(self._call_into(node, form))
            return
        args, kwargs = self._operands(node, frozenset())
        wanted = [
            (position, self._tensors[index])
            for position, index in enumerate(node.outputs)
            if index is not None and fresh[position] and read[position]
        ]
        self.calls.append((_CopyResults(operator.call._op, wanted, is_single=len(node.outputs) == 1), args, kwargs))

    def _bind_copy(self, node: TraceNode) -> None:
        """Copy straight into the planned buffer, which has the layout that a clone would choose."""
        [buffer] = [self._tensors[index] for index in node.outputs if index is not None]
        (source, *_), _ = self._operands(node, frozenset())
        self.calls.append((torch.ops.aten.copy_.default._op, (buffer, source), {}))

    def _call_into(self, node: TraceNode, form: OutForm) -> Call:
        args, kwargs = self._operands(node, form.dropped)
        outs = [self._tensors[index] for index in node.outputs if index is not None]
        kwargs.update(zip(form.out_names, outs, strict=True))
        return form.call._op, args, kwargs

    def _operands(self, node: TraceNode, dropped: frozenset[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        kwargs = {name: self._operand(value) for name, value in node.kwargs.items() if name not in dropped}
        return tuple(self._operand(value) for value in node.args), kwargs

    def _operand(self, operand: Any) -> Any:
        if isinstance(operand, ValueRef):
            return self._tensors[operand.index]
        if isinstance(operand, tuple | list):
            return [self._operand(item) for item in operand]
        return self._device if isinstance(operand, OwnDevice) else operand

    def _note_writes(self, operator: Operator, node: TraceNode) -> None:
        for position, name in operator.written:
            operand = node.args[position] if position < len(node.args) else node.kwargs.get(name)
            for index in value_refs(operand):
                storage = self._trace.values[index].storage
                if storage in self._input_by_storage:
                    self.written_inputs.add(self._input_by_storage[storage])


def _drops_nothing(operator: Operator, node: TraceNode) -> bool:
    """Tell whether an operator draws random numbers for dropout only, and none is asked for."""
    for position, argument in enumerate(operator.call._schema.arguments):
        if argument.name == "dropout_p":
            return bool(
                (node.args[position] if position < len(node.args) else node.kwargs.get("dropout_p", 0.0)) == 0.0
            )
    return False


class Guard:
    """Runs an operator that returns a Python value, and refuses to go on if it is not the one that was planned with.

    Attributes:
        learned: what the operator returned, if nothing was expected: such a plan is run to learn it.
    """

    __slots__ = ("_call", "_expected", "_name", "learned")

    def __init__(self, call: Callable[..., Any], node: TraceNode) -> None:
        self._call = call
        self._name = node.operator
        self._expected = node.guard
        self.learned: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Compare.

        Raises:
            GuardError: the value is another one.
        """
        value = self._call(*args, **kwargs)
        if self._expected is None:
            self.learned = value
        elif repr(value) != repr(self._expected[0]):  # 0.0 and -0.0 are equal, and NaN is not equal to itself
            raise GuardError(
                f"A plan relied on {self._name} returning {self._expected[0]!r}, but it returned {value!r}; plan the call again."
            )


class _CopyResults:
    """Runs an operator that has no `out=` form and copies what is read later into the planned buffers."""

    __slots__ = ("_call", "_is_single", "_wanted")

    def __init__(self, call: Callable[..., Any], wanted: list[tuple[int, torch.Tensor]], *, is_single: bool) -> None:
        self._call = call
        self._wanted = wanted
        self._is_single = is_single

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        results = self._call(*args, **kwargs)
        if self._is_single:
            results = (results,)
        for position, buffer in self._wanted:
            buffer.copy_(results[position])
