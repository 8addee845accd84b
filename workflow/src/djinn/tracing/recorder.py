"""A dispatch mode that writes each ATen operation on phantoms into a trace.

Values are numbered in order of definition; two values share a storage number exactly when they would share a storage,
which is observed rather than read from operator schemas (`_unsafe_view` aliases, its schema does not say so).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from djinn.core import TensorMeta, Trace, TraceNode, TraceValue, ValueRef
from djinn.errors import PlanError
from djinn.tracing.host import HostSide
from djinn.tracing.operands import UNEXPLAINED, Operands, own, replaced
from djinn.tracing.overloads import (
    LITERALS,
    Facts,
    aten,
    decompose,
    depends_on_data,
    facts_of,
    misplaced_operand,
    result_scope,
)
from djinn.tracing.phantom import Phantom, UnplannableError
from djinn.tracing.propagation import Outcome, Output, propagate
from djinn.tracing.strays import compute_constants

# Finds out what the last node of a trace returns now, given real inputs.
Look = Callable[[Trace], Any]


class Recorder(TorchDispatchMode):
    """Records operations between `with Recorder(inputs)` and `finish(outputs)`.

    Attributes:
        refusals: why the call cannot become a plan, once that is known.
        is_over: whether nothing is recorded any more.
    """

    def __init__(
        self,
        inputs: list[Phantom],
        device_type: str,
        *,
        look: Look | None,
        read_only: set[int],
        originals: Mapping[int, torch.Tensor],
        composites: Mapping[Any, Callable[..., Any]],
    ) -> None:
        """Take the inputs in.

        Args:
            inputs: what the operations start from; all on one device.
            device_type: the server's.
            look: finds out what an operation that depends on data returns now; None refuses such calls.
            read_only: numbers of inputs that operations must not write to.
            originals: tensors by number of the input that stands for them, in this thread and for operations alone.
            composites: operators that consist of others in another way on the phantoms' device than torch knows; they may
                return NotImplemented.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = inputs[0].device if inputs else torch.device(device_type)
        self._device_type = device_type
        self._composites = composites
        self._look = look
        self._host = HostSide()
        # Whether running the recorded operations a second time would change anything.
        self._is_repeatable = True
        self.refusals: list[UnplannableError] = []
        self.is_over = False
        # What its phantoms stand for that forward kept, and those of other simulations here.
        self._real: dict[int, torch.Tensor] | None = None
        self._kept: dict[Recorder, dict[int, torch.Tensor]] = {}
        self._values: list[TraceValue] = []
        self._storage_bytes: list[int] = []
        self._nodes: list[TraceNode] = []
        self._constants: list[tuple[int, torch.Tensor]] = []
        for phantom in inputs:
            self._define(phantom, self._new_storage(phantom.meta.extent_bytes))
        self._num_inputs = len(inputs)
        self._read_only_storages = {inputs[number].storage_number for number in read_only}
        self._phantoms_by_original = {id(tensor): inputs[number] for number, tensor in originals.items()}

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
        if torch.is_grad_enabled():
            raise UnplannableError("forward turns autograd on")
        facts = facts_of(func)
        operands = Operands(self, self._phantoms_by_original)
        refs = operands.take(args), operands.take(kwargs)
        if operands.strays:
            here = {id(stray): self._here(stray) for stray in operands.strays}
            with self:
                return func(*replaced(args, here), **replaced(kwargs, here))
        scope = result_scope(facts, args)
        if operands.has_originals:
            args, kwargs = operands.stand_in(args), operands.stand_in(kwargs)
        if self._is_on_host(kwargs, operands):
            return self._host.run(func, facts, (args, kwargs), operands.others)
        self._refuse_leaving(facts, kwargs)
        if operands.others:
            misplaced = None if func in LITERALS else misplaced_operand(facts, args, kwargs, self._device)
            if misplaced is not None:
                raise UnplannableError(f"{facts.name} got a tensor on {misplaced.device}")
            args, kwargs = self._adopt(func, args), self._adopt(func, kwargs)
            # A literal is a new tensor at each call, which the call may change.
            return self.__torch_dispatch__(aten.clone.default if func in LITERALS else func, types, args, kwargs)
        if facts.is_composite or func in self._composites:
            # Under inference mode composite operators arrive whole; their parts are what a plan consists of.
            with self:
                own = self._composites.get(func)
                result = decompose(func, args, kwargs) if own is None else own(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if depends_on_data(func, facts, operands.phantoms):
            return self._look_up(facts, refs)
        self._note_writes(facts, *refs)
        outcome = propagate(func, args, kwargs, tuple(operands.key), self._device_type)
        with scope:
            results = self._results(outcome, operands.phantoms)
        indices = tuple(result.ref.index if isinstance(result, Phantom) else None for result in results)
        self._nodes.append(TraceNode(facts.name, *refs, indices))
        return results[0] if outcome.container is None else outcome.container(results)

    def finish(self, outputs: list[torch.Tensor]) -> Trace:
        """Return the trace of a call that returned these phantoms.

        Raises:
            UnplannableError: an output that did not come from the recorded operations.
        """
        return self._trace(tuple(own(output, self).ref.index for output in outputs))

    def end(self) -> None:
        """Drop what leads back to the caller: phantoms know their recorder, and may outlive the simulation."""
        self.is_over = True
        self._look = None
        self._phantoms_by_original = {}
        self._kept = {}

    def real(self, phantom: Phantom) -> torch.Tensor:
        """Return the tensor that a phantom stands for which forward kept, as long as that is the same at each call.

        Raises:
            PlanError: it is not, or the simulation goes on: this is a thread of forward's own then, and it ends the simulation.
        """
        if not self.is_over:
            self.refusals.append(UnplannableError("a thread of forward's own computes with what it is passed"))
        elif self._real is None:
            self._real = compute_constants(self._trace(()), self._device)
        tensor = (self._real or {}).get(phantom.ref.index)
        if tensor is None:
            raise PlanError(
                f"A tensor of shape {tuple(phantom.shape)} has no elements, since it is from the simulation of a forward "
                "call; keep none that depends on what that is passed, or on random numbers."
            )
        return tensor

    def _here(self, stray: Phantom) -> torch.Tensor:
        """Return what stands for another simulation's phantom in this one.

        Raises:
            UnplannableError: it is not the same at each call, or may have been written to since.
        """
        other = stray.recorder
        assert isinstance(other, Recorder), "a phantom was made by no recorder"
        if not other.is_over or other._real is not None:
            raise UnplannableError(UNEXPLAINED)
        if other not in self._kept:
            with self:
                self._kept[other] = compute_constants(other._trace(()), self._device)
        if stray.ref.index not in self._kept[other]:
            raise UnplannableError(UNEXPLAINED)
        return self._kept[other][stray.ref.index]

    def _trace(self, outputs: tuple[int, ...]) -> Trace:
        return Trace(
            tuple(self._values),
            tuple(self._storage_bytes),
            tuple(self._nodes),
            outputs,
            self._num_inputs,
            tuple(self._constants),
            self._host.reads,
            torch.get_default_dtype(),
        )

    def _look_up(self, facts: Facts, refs: tuple[Any, Any]) -> Any:
        """Return what an operation returns now, and make the trace rely on it."""
        if self._look is None or not self._is_repeatable or not facts.returns_value:
            raise UnplannableError(f"{facts.name} depends on data")
        self._nodes.append(TraceNode(facts.name, *refs, ()))
        try:
            value = self._look(self._trace(()))
        except Exception as error:  # forward may go on without the value
            self.refusals.append(UnplannableError(f"{facts.name} could not be looked up: {type(error).__name__}"))
            raise
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

    def _is_on_host(self, kwargs: dict[str, Any], operands: Operands) -> bool:
        """Tell whether an operation has nothing to do with the phantoms' device; there is no telling where that is the host."""
        if operands.phantoms or self._device.type == "cpu":
            return False
        if any(operand.device == self._device for operand in operands.others):
            return False
        return kwargs.get("device") != self._device

    def _refuse_leaving(self, facts: Facts, kwargs: dict[str, Any]) -> None:
        device = kwargs.get("device")
        if device is not None and device != self._device:
            raise UnplannableError(f"{facts.name} moves a tensor to {device}")

    def _adopt(self, func: Any, operand: Any) -> Any:
        """Replace tensors that are no phantoms by phantoms of constants."""
        if isinstance(operand, Phantom) or not isinstance(operand, torch.Tensor | tuple | list | dict):
            return operand
        if isinstance(operand, tuple | list):
            return type(operand)([self._adopt(func, item) for item in operand])
        if isinstance(operand, dict):
            return {name: self._adopt(func, item) for name, item in operand.items()}
        if func in LITERALS:  # nobody else has it yet, wherever it is
            return self._constant(operand.cpu())
        if operand.device.type != "cpu":
            raise UnplannableError(UNEXPLAINED)
        self._host.note_read(operand)
        return self._constant(operand)

    def _constant(self, operand: torch.Tensor) -> Phantom:
        host = operand.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
        phantom = self._define(Phantom(TensorMeta.of(host), self._device), self._new_storage(host.nbytes))
        self._constants.append((phantom.ref.index, host))
        self._read_only_storages.add(phantom.storage_number)
        return phantom

    def _results(self, outcome: Outcome, operands: list[Phantom]) -> list[Phantom | int | None]:
        made: dict[int, int] = {}
        results: list[Phantom | int | None] = []
        for output in outcome.outputs:
            if not isinstance(output, Output):
                results.append(output)
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


def _answer(func: Any, args: tuple[Any, ...]) -> Any:
    """Answer what composite operators ask of a tensor without computing anything."""
    if func is torch.ops.prim.device.default:
        return args[0].device
    raise UnplannableError(f"{func} asks what a simulation does not know")
