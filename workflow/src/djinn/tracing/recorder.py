"""A dispatch mode that writes each ATen operation on phantoms into a trace.

Values are numbered in order of definition; two values share a storage number exactly when they would share a storage,
which is observed on fake tensors rather than read from operator schemas (`_unsafe_view` aliases, its schema does not say
so).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from djinn.core import Trace, TraceNode, TraceValue, ValueRef
from djinn.tracing.phantom import Phantom, UnplannableError
from djinn.tracing.propagation import Output, propagate


class Recorder(TorchDispatchMode):
    """Records operations between `with Recorder(inputs)` and `finish(outputs)`."""

    def __init__(self, inputs: list[Phantom], device_type: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device_type = device_type
        self._values: list[TraceValue] = []
        self._storage_bytes: list[int] = []
        self._nodes: list[TraceNode] = []
        # Phantoms are told apart by identity, so none may be freed (and its id reused) while recording.
        self._index_by_id: dict[int, int] = {}
        self._keep_alive: list[Phantom] = []
        for phantom in inputs:
            self._define(phantom, self._new_storage(phantom.meta.extent_bytes))
        self._num_inputs = len(inputs)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Append one operation to the trace and return phantoms of its results."""
        kwargs = kwargs or {}
        if func.namespace == "prim":
            return _answer(func, args)
        if func._can_decompose():
            # Under inference mode composite operators arrive whole; their parts are what a plan consists of.
            with self:
                return func.decompose(*args, **kwargs)
        if torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
            raise UnplannableError(f"{func} depends on data")
        operands: list[Phantom] = []
        refs = self._refs(args, operands), self._refs(kwargs, operands)
        outcome = propagate(func, args, kwargs, operands, self._device_type)
        results, indices = self._results(outcome.outputs, operands)
        self._nodes.append(TraceNode(str(func), *refs, indices))
        return results[0] if outcome.container is None else outcome.container(results)

    def finish(self, outputs: list[torch.Tensor]) -> Trace:
        """Return the trace of a call that returned these phantoms.

        Raises:
            UnplannableError: an output that did not come from the recorded operations.
        """
        return Trace(
            tuple(self._values),
            tuple(self._storage_bytes),
            tuple(self._nodes),
            tuple(self._index(output) for output in outputs),
            self._num_inputs,
        )

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
        if isinstance(operand, torch.Tensor):
            raise UnplannableError("a tensor of another device among the operands")
        if isinstance(operand, torch.Generator):
            raise UnplannableError("an explicit random generator")
        if isinstance(operand, tuple | list):
            return tuple(self._refs(item, operands) for item in operand)
        if isinstance(operand, dict):
            return {key: self._refs(item, operands) for key, item in operand.items()}
        return operand


def _answer(func: Any, args: tuple[Any, ...]) -> Any:
    """Answer what composite operators ask of a tensor without computing anything."""
    if func is torch.ops.prim.device.default:
        return args[0].device
    raise UnplannableError(f"{func} asks what a simulation does not know")
