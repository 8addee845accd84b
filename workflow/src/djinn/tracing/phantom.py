"""Phantoms: tensors with metadata and no elements, which a module call is simulated on."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from djinn.core import TensorMeta, ValueRef
from djinn.errors import PlanError

# Equal metadata gets equal small numbers, so that remembering outcomes hashes integers instead of shapes.
_meta_numbers: dict[TensorMeta, int] = {}
_unused_numbers = itertools.count()


class UnplannableError(Exception):
    """A call that cannot become a plan; the message is the reason that `djinn.stats()` reports."""


class SideEffectError(UnplannableError):
    """A call that changes more than the tensors and containers that it is passed."""


class Phantom(torch.Tensor):
    """Looks like a dense host tensor; only a recorder may compute with it.

    FakeTensor does the same and more for ten times the price, which a trace of hundreds of operations pays each time.

    Attributes:
        meta: its metadata.
        meta_number: a number that equal metadata share.
        recorder: who records what is computed with it.
        ref: its value in the trace.
        storage_number: of its storage there.
    """

    meta: TensorMeta
    meta_number: int
    recorder: object
    ref: ValueRef
    storage_number: int
    records_gradient: bool = torch.Tensor.requires_grad

    @staticmethod
    def __new__(cls, meta: TensorMeta, device: torch.device, *, requires_grad: bool = False) -> Phantom:
        """Make a phantom of this metadata."""
        phantom: Phantom = torch.Tensor._make_wrapper_subclass(
            cls,
            meta.shape,
            strides=meta.strides,
            storage_offset=meta.storage_offset,
            dtype=meta.dtype,
            device=device,
            requires_grad=requires_grad,
        )
        phantom.meta = meta
        phantom.meta_number = number_of(meta)
        return phantom

    def __init__(self, meta: TensorMeta, device: torch.device, *, requires_grad: bool = False) -> None:
        """Nothing is left to do; torch calls this with the arguments of `__new__`."""

    @property
    def data(self) -> torch.Tensor:
        """Return a phantom over the same elements, outside of autograd.

        Raises:
            UnplannableError: when it is assigned, which no operation expresses.
        """
        return self.detach()

    @data.setter
    def data(self, source: torch.Tensor) -> None:
        raise UnplannableError("forward assigns the data of a tensor")

    @property
    def requires_grad(self) -> bool:
        """Whether autograd would record operations on this tensor.

        Raises:
            UnplannableError: when it is changed, which no operation expresses.
        """
        return self.records_gradient

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value != self.requires_grad:
            raise UnplannableError("forward changes whether a tensor requires a gradient")

    def requires_grad_(self, requires_grad: bool = True) -> Phantom:
        """Set `requires_grad`; raises as that does."""
        self.requires_grad = requires_grad
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Refuse to compute."""
        raise PlanError(
            f"Operator {func} reached a tensor of a finished simulation; keep no tensors of a forward call."
        )


def number_of(meta: TensorMeta) -> int:
    """Return the small number that stands for this metadata."""
    number = _meta_numbers.get(meta)
    return _meta_numbers.setdefault(meta, next(_unused_numbers)) if number is None else number
