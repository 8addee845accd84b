"""A dispatch mode that writes each ATen operation on phantoms into a trace.

Values are numbered in order of definition; two values share a storage number exactly when they would share a storage,
which is observed rather than read from operator schemas (`_unsafe_view` aliases, its schema does not say so).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from djinn.core import TensorMeta, Trace, TraceNode, TraceValue, ValueRef
from djinn.tracing.overloads import LITERALS, Facts, aten, depends_on_data, facts_of
from djinn.tracing.phantom import Phantom, UnplannableError
from djinn.tracing.propagation import Outcome, propagate

# Finds out what the last node of a trace returns now, given real inputs.
Look = Callable[[Trace], Any]


class Recorder(TorchDispatchMode):
    """Records operations between `with Recorder(inputs)` and `finish(outputs)`."""

    def __init__(self, inputs: list[Phantom], device: torch.device, look: Look | None, read_only: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device
        self._look = look
        # Whether running the recorded operations a second time would change anything.
        self._is_repeatable = True
        self._values: list[TraceValue] = []
        self._storage_bytes: list[int] = []
        self._nodes: list[TraceNode] = []
        self._constants: list[tuple[int, torch.Tensor]] = []
        self._phantom_by_host_id: dict[int, Phantom] = {}
        for phantom in inputs:
            self._define(phantom, self._new_storage(phantom.meta.extent_bytes))
        self._num_inputs = len(inputs)
        self._read_only_storages = {inputs[number].storage_number for number in read_only}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would wrap the method below so that no compiler sees it, at a tenth of a simulation's price.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Append one operation to the trace and return phantoms of its results."""
        kwargs = kwargs or {}
        if func.namespace == "prim":
            return _answer(func, args)
        facts = facts_of(func)
        operands = _Operands(self)
        refs = operands.take(args), operands.take(kwargs)
        if operands.hosts:
            args, kwargs = self._adopt((args, kwargs), takes_any=facts.takes_host_tensors)
            # A literal is a new tensor at each call, which the call may change.
            return self.__torch_dispatch__(aten.clone.default if func in LITERALS else func, types, args, kwargs)
        if facts.is_composite:
            # Under inference mode composite operators arrive whole; their parts are what a plan consists of.
            with self:
                return func.decompose(*args, **kwargs)
        if depends_on_data(func, facts, operands.phantoms):
            return self._look_up(facts, refs)
        self._note_writes(facts, *refs)
        outcome = propagate(func, args, kwargs, tuple(operands.key), self._device.type)
        results = self._results(outcome, operands.phantoms)
        indices = tuple(None if result is None else result.ref.index for result in results)
        self._nodes.append(TraceNode(facts.name, *refs, indices))
        return results[0] if outcome.container is None else outcome.container(results)

    def finish(self, outputs: list[torch.Tensor]) -> Trace:
        """Return the trace of a call that returned these phantoms.

        Raises:
            UnplannableError: an output that did not come from the recorded operations.
        """
        return self._trace(tuple(self.own(output).ref.index for output in outputs))

    def let_go(self) -> None:
        """Drop what leads back to the caller: phantoms know their recorder, and may outlive the simulation."""
        self._look = None
        self._phantom_by_host_id.clear()

    def own(self, tensor: torch.Tensor) -> Phantom:
        """Return a tensor that this recorder knows.

        Raises:
            UnplannableError: it does not.
        """
        if not isinstance(tensor, Phantom) or tensor.recorder is not self:
            raise UnplannableError("a tensor that the call's arguments and operations do not explain")
        return tensor

    def _trace(self, outputs: tuple[int, ...]) -> Trace:
        return Trace(
            tuple(self._values),
            tuple(self._storage_bytes),
            tuple(self._nodes),
            outputs,
            self._num_inputs,
            tuple(self._constants),
        )

    def _look_up(self, facts: Facts, refs: tuple[Any, Any]) -> Any:
        """Return what an operation returns now, and make the trace rely on it."""
        if self._look is None or not self._is_repeatable or not facts.returns_value:
            raise UnplannableError(f"{facts.name} depends on data")
        self._nodes.append(TraceNode(facts.name, *refs, ()))
        value = self._look(self._trace(()))
        self._nodes[-1] = TraceNode(facts.name, *refs, (), (value,))
        return value

    def _note_writes(self, facts: Facts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if facts.draws_numbers:
            self._is_repeatable = False
        for position, name in facts.written:
            operand = args[position] if position < len(args) else kwargs.get(name)
            for ref in operand if isinstance(operand, tuple) else (operand,):
                if isinstance(ref, ValueRef):
                    self._note_write(facts, self._values[ref.index].storage)

    def _note_write(self, facts: Facts, storage: int) -> None:
        if storage in self._read_only_storages:
            raise UnplannableError(f"{facts.name} writes to a host tensor")
        if storage < self._num_inputs:  # each input has a storage of its own, and they are the first
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
            phantom = self._define(Phantom(TensorMeta.of(host), self._device), self._new_storage(host.nbytes))
            self._phantom_by_host_id[id(operand)] = phantom
            self._constants.append((phantom.ref.index, operand))
            self._read_only_storages.add(phantom.storage_number)
        return phantom

    def _results(self, outcome: Outcome, operands: list[Phantom]) -> list[Phantom | None]:
        made: dict[int, int] = {}
        results: list[Phantom | None] = []
        for output in outcome.outputs:
            if output is None:
                results.append(None)
            elif output.is_operand:
                assert output.operand is not None, "an output is an operand without a number"
                results.append(operands[output.operand])
            else:
                if output.operand is not None:
                    storage = operands[output.operand].storage_number
                else:
                    if output.storage not in made:
                        made[output.storage] = self._new_storage(output.storage_bytes)
                    storage = made[output.storage]
                results.append(self._define(Phantom(output.meta, self._device), storage))
        return results

    def _new_storage(self, num_bytes: int) -> int:
        self._storage_bytes.append(num_bytes)
        return len(self._storage_bytes) - 1

    def _define(self, phantom: Phantom, storage: int) -> Phantom:
        phantom.recorder = self
        phantom.ref = ValueRef(len(self._values))
        phantom.storage_number = storage
        self._values.append(TraceValue(phantom.meta, storage))
        return phantom


class _Operands:
    """One walk over an operation's operands: references for the trace, a key for the memo, and the tensors."""

    __slots__ = ("_recorder", "hosts", "key", "phantoms")

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.phantoms: list[Phantom] = []
        self.hosts: list[torch.Tensor] = []
        self.key: list[Any] = []

    def take(self, operand: Any) -> Any:
        """Return an operand tree with references in place of phantoms.

        Raises:
            UnplannableError: a tensor of another simulation, or an explicit random generator.
        """
        if isinstance(operand, Phantom):
            self.phantoms.append(self._recorder.own(operand))
            self.key.append(operand.meta_number)
            return operand.ref
        if isinstance(operand, tuple | list):
            self.key.append((type(operand), len(operand)))
            return tuple([self.take(item) for item in operand])
        if isinstance(operand, dict):
            self.key.append(tuple(operand))
            return {name: self.take(item) for name, item in operand.items()}
        if isinstance(operand, torch.Tensor):
            self.hosts.append(operand)
        if isinstance(operand, torch.Generator):
            raise UnplannableError("an explicit random generator")
        # 1, 1.0 and True are equal keys but different operands.
        self.key.append((type(operand), operand))
        return operand


def _answer(func: Any, args: tuple[Any, ...]) -> Any:
    """Answer what composite operators ask of a tensor without computing anything."""
    if func is torch.ops.prim.device.default:
        return args[0].device
    raise UnplannableError(f"{func} asks what a simulation does not know")
