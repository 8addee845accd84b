"""A dispatch mode that writes each ATen operation on fake tensors into a trace.

Values are numbered in order of definition; two values share a storage number exactly when their fake tensors share
a storage, so that aliasing is observed rather than read from operator schemas (`_unsafe_view` aliases, its schema
does not say so).
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from djinn.core import DTYPE_CODES, TensorMeta, Trace, TraceNode, TraceValue, ValueRef


class UnplannableError(Exception):
    """A call that cannot become a plan; the message is the reason that `djinn.stats()` reports."""


class Recorder(TorchDispatchMode):
    """Records operations between `with Recorder(inputs)` and `finish(outputs)`."""

    def __init__(self, inputs: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._values: list[TraceValue] = []
        self._storage_bytes: list[int] = []
        self._nodes: list[TraceNode] = []
        self._index_by_id: dict[int, int] = {}
        self._storage_by_key: dict[int, int] = {}
        # Fake tensors are told apart by identity, so none may be freed (and its id reused) while recording.
        self._keep_alive: list[Any] = []
        for tensor in inputs:
            self._define(tensor)
        self._num_inputs = len(inputs)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation on fake tensors and append it to the trace."""
        kwargs = kwargs or {}
        if func.namespace != "aten":
            return func(*args, **kwargs)  # prim::device and the like: composite operators ask, nothing is computed
        if func._can_decompose():
            # Under inference mode composite operators arrive whole; their parts are what a plan consists of.
            with self:
                return func.decompose(*args, **kwargs)
        if torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
            raise UnplannableError(f"{func} depends on data")
        refs = self._refs(args), self._refs(kwargs)
        result = func(*args, **kwargs)
        outputs = result if isinstance(result, tuple | list) else (result,)
        indices = tuple(self._define(output) if isinstance(output, torch.Tensor) else None for output in outputs)
        self._nodes.append(TraceNode(str(func), *refs, indices))
        return result

    def finish(self, outputs: list[torch.Tensor]) -> Trace:
        """Return the trace of a call that returned these fake tensors.

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

    def _define(self, tensor: torch.Tensor) -> int:
        known = self._index_by_id.get(id(tensor))
        if known is not None:
            return known
        if tensor.layout is not torch.strided or tensor.dtype not in DTYPE_CODES:
            raise UnplannableError(f"a tensor of layout {tensor.layout} and dtype {tensor.dtype}")
        storage = tensor.untyped_storage()
        number = self._storage_by_key.get(storage._cdata)
        if number is None:
            number = self._storage_by_key[storage._cdata] = len(self._storage_bytes)
            self._storage_bytes.append(storage.nbytes())
        index = self._index_by_id[id(tensor)] = len(self._values)
        self._values.append(TraceValue(TensorMeta.of(tensor), number))
        self._keep_alive.append((tensor, storage))
        return index

    def _index(self, tensor: torch.Tensor) -> int:
        index = self._index_by_id.get(id(tensor))
        if index is None:
            raise UnplannableError("a tensor that the call's arguments and operations do not explain")
        return index

    def _refs(self, operand: Any) -> Any:
        if isinstance(operand, FakeTensor):
            return ValueRef(self._index(operand))
        if isinstance(operand, torch.Tensor):
            raise UnplannableError("a tensor of another device among the operands")
        if isinstance(operand, torch.Generator):
            raise UnplannableError("an explicit random generator")
        if isinstance(operand, tuple | list):
            return tuple(self._refs(item) for item in operand)
        if isinstance(operand, dict):
            return {key: self._refs(item) for key, item in operand.items()}
        return operand
