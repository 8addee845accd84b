"""A dispatch mode that writes each ATen operation on phantoms into a trace.

Values are numbered in order of definition; two values share a storage number exactly when they would share a storage,
which is observed on fake tensors rather than read from operator schemas (`_unsafe_view` aliases, its schema does not say
so).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from djinn.core import TensorMeta, Trace, TraceNode, TraceValue, ValueRef
from djinn.tracing.phantom import Phantom, UnplannableError
from djinn.tracing.propagation import Output, propagate

aten = torch.ops.aten
_LITERALS = frozenset({aten.lift_fresh.default, aten.lift.default})
# Operators that take host tensors with dimensions: literals, and those whose indices may come from the host.
_INDEXING = frozenset(
    {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
)
_TAKES_ANY = _LITERALS | _INDEXING

# Finds out what the last node of a trace returns now, given real inputs.
Look = Callable[[Trace], Any]


class Recorder(TorchDispatchMode):
    """Records operations between `with Recorder(inputs)` and `finish(outputs)`."""

    def __init__(self, inputs: list[Phantom], device_type: str, look: Look | None, read_only: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device_type = device_type
        self._look = look
        # Whether running the recorded operations a second time would change anything.
        self._is_repeatable = True
        self._values: list[TraceValue] = []
        self._storage_bytes: list[int] = []
        self._nodes: list[TraceNode] = []
        # Phantoms are told apart by identity, so none may be freed (and its id reused) while recording.
        self._index_by_id: dict[int, int] = {}
        self._keep_alive: list[Phantom] = []
        self._constants: list[tuple[int, torch.Tensor]] = []
        self._phantom_by_host_id: dict[int, Phantom] = {}
        for phantom in inputs:
            self._define(phantom, self._new_storage(phantom.meta.extent_bytes))
        self._num_inputs = len(inputs)
        self._read_only_storages = {self._values[index].storage for index in read_only}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Append one operation to the trace and return phantoms of its results."""
        kwargs = kwargs or {}
        if func.namespace == "prim":
            return _answer(func, args)
        if any(isinstance(leaf, torch.Tensor) and not isinstance(leaf, Phantom) for leaf in _leaves((args, kwargs))):
            args, kwargs = self._adopt((args, kwargs), takes_any=func in _TAKES_ANY)
        # A literal is a new tensor at each call, which the call may change.
        func = aten.clone.default if func in _LITERALS else func
        if func._can_decompose():
            # Under inference mode composite operators arrive whole; their parts are what a plan consists of.
            with self:
                return func.decompose(*args, **kwargs)
        operands: list[Phantom] = []
        refs = self._refs(args, operands), self._refs(kwargs, operands)
        if _depends_on_data(func, operands):
            return self._look_up(func, refs)
        self._note_writes(func, refs)
        outcome = propagate(func, args, kwargs, operands, self._device_type)
        results, indices = self._results(outcome.outputs, operands)
        self._nodes.append(TraceNode(str(func), *refs, indices))
        return results[0] if outcome.container is None else outcome.container(results)

    def finish(self, outputs: list[torch.Tensor]) -> Trace:
        """Return the trace of a call that returned these phantoms.

        Raises:
            UnplannableError: an output that did not come from the recorded operations.
        """
        return self._trace(tuple(self._index(output) for output in outputs))

    def _trace(self, outputs: tuple[int, ...]) -> Trace:
        return Trace(
            tuple(self._values),
            tuple(self._storage_bytes),
            tuple(self._nodes),
            outputs,
            self._num_inputs,
            tuple(self._constants),
        )

    def _look_up(self, func: Any, refs: tuple[Any, Any]) -> Any:
        """Return what an operation returns now, and make the trace rely on it."""
        if self._look is None or not self._is_repeatable or not _returns_python_value(func):
            raise UnplannableError(f"{func} depends on data")
        self._nodes.append(TraceNode(str(func), *refs, ()))
        value = self._look(self._trace(()))
        self._nodes[-1] = TraceNode(str(func), *refs, (), (value,))
        return value

    def _note_writes(self, func: Any, refs: tuple[Any, Any]) -> None:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self._is_repeatable = False
        if not func._schema.is_mutable:
            return
        written = {self._values[index].storage for index in _written(func, *refs)}
        if not written.isdisjoint(self._read_only_storages):
            raise UnplannableError(f"{func} writes to a host tensor")
        if any(value.storage in written for value in self._values[: self._num_inputs]):
            self._is_repeatable = False

    def _adopt(self, operand: Any, *, takes_any: bool) -> Any:
        """Replace host tensors by phantoms of constants; as on every device, scalars and indices may come from the host."""
        if isinstance(operand, Phantom) or not isinstance(operand, torch.Tensor | tuple | list | dict):
            return operand
        if isinstance(operand, tuple | list):
            return type(operand)([self._adopt(item, takes_any=takes_any) for item in operand])
        if isinstance(operand, dict):
            return {name: self._adopt(item, takes_any=takes_any) for name, item in operand.items()}
        if operand.device.type != "cpu" or not (takes_any or operand.dim() == 0):
            raise UnplannableError(f"a tensor on {operand.device} among the operands")
        phantom = self._phantom_by_host_id.get(id(operand))
        if phantom is None:
            host = operand.detach().contiguous()
            phantom = self._define(Phantom(TensorMeta.of(host), self._device_type), self._new_storage(host.nbytes))
            self._phantom_by_host_id[id(operand)] = phantom
            self._constants.append((self._index(phantom), operand))
            self._read_only_storages.add(self._values[self._index(phantom)].storage)
        return phantom

    def _results(
        self, outputs: tuple[Output | None, ...], operands: list[Phantom]
    ) -> tuple[list[Phantom | None], tuple[int | None, ...]]:
        made: dict[int, int] = {}
        results: list[Phantom | None] = []
        for output in outputs:
            if output is None:
                results.append(None)
            elif output.is_operand:
                assert output.operand is not None, "an output is an operand without a number"
                results.append(operands[output.operand])
            else:
                if output.operand is not None:
                    storage = self._values[self._index(operands[output.operand])].storage
                else:
                    if output.storage not in made:
                        made[output.storage] = self._new_storage(output.storage_bytes)
                    storage = made[output.storage]
                results.append(self._define(Phantom(output.meta, self._device_type), storage))
        return results, tuple(None if result is None else self._index(result) for result in results)

    def _new_storage(self, num_bytes: int) -> int:
        self._storage_bytes.append(num_bytes)
        return len(self._storage_bytes) - 1

    def _define(self, phantom: Phantom, storage: int) -> Phantom:
        self._index_by_id[id(phantom)] = len(self._values)
        self._values.append(TraceValue(phantom.meta, storage))
        self._keep_alive.append(phantom)
        return phantom

    def _index(self, tensor: torch.Tensor) -> int:
        index = self._index_by_id.get(id(tensor))
        if index is None:
            raise UnplannableError("a tensor that the call's arguments and operations do not explain")
        return index

    def _refs(self, operand: Any, operands: list[Phantom]) -> Any:
        if isinstance(operand, Phantom):
            operands.append(operand)
            return ValueRef(self._index(operand))
        if isinstance(operand, torch.Generator):
            raise UnplannableError("an explicit random generator")
        if isinstance(operand, tuple | list):
            return tuple(self._refs(item, operands) for item in operand)
        if isinstance(operand, dict):
            return {key: self._refs(item, operands) for key, item in operand.items()}
        return operand


def _leaves(operand: Any) -> Iterator[Any]:
    if isinstance(operand, tuple | list):
        for item in operand:
            yield from _leaves(item)
    elif isinstance(operand, dict):
        yield from _leaves(tuple(operand.values()))
    else:
        yield operand


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[int]:
    """Yield the values that an operator writes to."""
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            operand = args[position] if position < len(args) else kwargs.get(argument.name)
            yield from (leaf.index for leaf in _leaves(operand) if isinstance(leaf, ValueRef))


def _depends_on_data(func: Any, operands: list[Phantom]) -> bool:
    if func in _INDEXING:  # tagged for the sake of masks alone
        return func is aten.index.Tensor and any(o.dtype in (torch.bool, torch.uint8) for o in operands[1:])
    return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags


def _returns_python_value(func: Any) -> bool:
    return not any("Tensor" in str(returned.type) for returned in func._schema.returns)


def _answer(func: Any, args: tuple[Any, ...]) -> Any:
    """Answer what composite operators ask of a tensor without computing anything."""
    if func is torch.ops.prim.device.default:
        return args[0].device
    raise UnplannableError(f"{func} asks what a simulation does not know")
