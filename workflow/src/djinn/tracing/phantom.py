"""Phantoms: tensors with metadata and no elements, which a module call is simulated on."""

from __future__ import annotations

from typing import Any

import torch

from djinn.core import TensorMeta
from djinn.errors import PlanError


class UnplannableError(Exception):
    """A call that cannot become a plan; the message is the reason that `djinn.stats()` reports."""


class Phantom(torch.Tensor):
    """Looks like a dense host tensor; only a recorder may compute with it.

    FakeTensor does the same and more for ten times the price, which a trace of hundreds of operations pays each time.
    """

    meta: TensorMeta

    @staticmethod
    def __new__(cls, meta: TensorMeta, device_type: str, *, requires_grad: bool = False) -> Phantom:
        """Make a phantom of this metadata."""
        phantom: Phantom = torch.Tensor._make_wrapper_subclass(
            cls,
            meta.shape,
            strides=meta.strides,
            storage_offset=meta.storage_offset,
            dtype=meta.dtype,
            device=torch.device(device_type),
            requires_grad=requires_grad,
        )
        phantom.meta = meta
        return phantom

    def __init__(self, meta: TensorMeta, device_type: str, *, requires_grad: bool = False) -> None:
        """Nothing is left to do; torch calls this with the arguments of `__new__`."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Refuse to compute."""
        raise PlanError(
            f"Operator {func} reached a tensor of a finished simulation; keep no tensors of a forward call."
        )
