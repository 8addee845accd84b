"""Phantoms: tensors with metadata and no elements, which a module call is simulated on."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch.utils._pytree import tree_map

from djinn.core import TensorMeta, ValueRef

# Equal metadata gets equal small numbers, so that remembering outcomes hashes integers instead of shapes.
_meta_numbers: dict[TensorMeta, int] = {}
_unused_numbers = itertools.count()
_NUM_OWN_ATTRIBUTES = 5


class UnplannableError(Exception):
    """A call that cannot become a plan; the message is the reason that `djinn.stats()` reports.

    One that is raised inside of a simulation ends it, also if forward catches it: what forward does then, it would not do
    if it ran.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        if _thread.refusals is not None:
            _thread.refusals.append(self)


class SideEffectError(UnplannableError):
    """A call that changes more than the tensors and containers that it is passed."""


class _Thread(threading.local):
    refusals: list[UnplannableError] | None = None


_thread = _Thread()


@contextmanager
def noting_refusals(refusals: list[UnplannableError]) -> Iterator[None]:
    """Within this scope, which is a simulation, note each `UnplannableError` that this thread makes."""
    _thread.refusals = refusals
    try:
        yield
    finally:
        _thread.refusals = None


class Simulation(Protocol):
    """Who made a phantom.

    Attributes:
        refusals: why the call cannot become a plan, once that is known.
        is_over: whether nothing is recorded any more.
    """

    refusals: list[UnplannableError]
    is_over: bool

    def real(self, phantom: Phantom) -> torch.Tensor:
        """Return the tensor that a phantom stands for after the simulation; raises PlanError where there is none."""


class Phantom(torch.Tensor):
    """Looks like a dense host tensor; only a recorder computes with it.

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
    recorder: Simulation
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
    def has_attributes(self) -> bool:
        """Whether forward attached something."""
        return len(vars(self)) > _NUM_OWN_ATTRIBUTES

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

    # What torch does without any operation: it would find no elements, an error that forward may catch.

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        """Show the elements."""
        return repr(self.recorder.real(self)) if self.recorder.is_over else torch._tensor_str._str(self)

    def tolist(self) -> Any:
        """Return the elements as nested lists; raises as `_real` does."""
        return self._real("lists the elements of a tensor").tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Return the elements as a NumPy array; raises as `_real` does."""
        return self._real("makes a NumPy array of a tensor").numpy(force=force)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy the elements; raises as `_real` does."""
        return copy.deepcopy(self._real("deep-copies a tensor"), memo)

    def __format__(self, format_spec: str) -> str:
        """Format a tensor without dimensions as its element, as torch does."""
        return format(self.item(), format_spec) if self.dim() == 0 else object.__format__(self, format_spec)

    def _real(self, use: str) -> torch.Tensor:
        if not self.recorder.is_over:
            raise UnplannableError(f"forward {use}")
        return self.recorder.real(self)

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute with what phantoms of a simulation that is over stand for; raises as `with_real` does."""
        args, kwargs = with_real((args, kwargs or {}))
        return func(*args, **kwargs)


def with_real(operands: Any) -> Any:
    """Return an operand tree with the tensors that phantoms stand for, which were met outside of their simulation.

    Raises:
        PlanError: nobody knows the elements of one.
    """

    def replaced(leaf: Any) -> Any:
        return leaf.recorder.real(leaf) if isinstance(leaf, Phantom) else leaf

    return tree_map(replaced, operands)


def number_of(meta: TensorMeta) -> int:
    """Return the small number that stands for this metadata."""
    number = _meta_numbers.get(meta)
    return _meta_numbers.setdefault(meta, next(_unused_numbers)) if number is None else number
