"""What a replay calls beside operators: guards, and the ways to keep results of operators without `out=` form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from djinn.core import TensorMeta, TraceNode
from djinn.errors import GuardError
from djinn.server.elements import unmarked
from djinn.server.slots import ExchangeableStorage


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


class TakeResults:
    """Runs an operator that allocates its results and takes what is read later.

    Small results are copied into their planned buffers; bound tensors are pointed at large ones, which stay where they
    were allocated until their last use.
    """

    __slots__ = ("_adopted", "_call", "_copied", "_is_single")

    def __init__(
        self,
        call: Callable[..., Any],
        copied: list[tuple[int, torch.Tensor]],
        adopted: list[tuple[int, ExchangeableStorage, TensorMeta]],
        *,
        is_single: bool,
    ) -> None:
        self._call = call
        self._copied = copied
        self._adopted = adopted
        self._is_single = is_single

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Run it."""
        results = self._call(*args, **kwargs)
        if self._is_single:
            results = (results,)
        for position, buffer in self._copied:
            buffer.copy_(results[position])
        for position, slot, meta in self._adopted:
            result = _laid_out(results[position], meta)
            slot.point_at(result.untyped_storage(), int(result.storage_offset()) - meta.storage_offset)


class LetGo:
    """Frees what was adopted, after its last use."""

    __slots__ = ("_slots",)

    def __init__(self, slots: list[ExchangeableStorage]) -> None:
        self._slots = slots

    def __call__(self) -> None:
        """Free it."""
        for slot in self._slots:
            slot.let_go()


def _laid_out(result: torch.Tensor, meta: TensorMeta) -> torch.Tensor:
    """Return a result with the planned strides; kernels sometimes choose others than the rules that plans are made by."""
    result = unmarked(result)
    if result.stride() == meta.strides or result.numel() == 0:
        return result
    num_elements = meta.extent_bytes // meta.dtype.itemsize
    storage = torch.empty(num_elements, dtype=meta.dtype, device=result.device)
    return storage.as_strided(meta.shape, meta.strides, meta.storage_offset).copy_(result)
