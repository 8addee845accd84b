"""Storages of a bound plan that are exchanged between calls, by pointing bound tensors elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import torch

from djinn.core import TensorMeta
from djinn.errors import PlanError
from djinn.server.table import Entry


class Inputs(msgspec.Struct, eq=False):
    """What one call of a plan is given.

    Attributes:
        weights: the leading inputs, the same at every call.
        arguments: the others.
        num_moves: how often any tensor got other memory; weights are bound again only after that.
    """

    weights: list[Entry]
    arguments: list[Entry]
    num_moves: int

    @property
    def num_weights(self) -> int:
        """Number of the first argument among the inputs."""
        return len(self.weights)

    def entry(self, number: int) -> Entry:
        """Return an input's entry."""
        first = len(self.weights)
        return self.weights[number] if number < first else self.arguments[number - first]

    def tensor(self, number: int) -> torch.Tensor:
        """Return an input."""
        return self.entry(number).tensor


@dataclass(slots=True)
class ExchangeableStorage:
    """The bound tensors over a storage that differs between calls, with their metadata."""

    tensors: list[tuple[torch.Tensor, TensorMeta]] = field(default_factory=list)

    def point_at(self, storage: torch.UntypedStorage, base_offset: int) -> None:
        """Move every bound tensor to `storage`, whose first planned element lies at `base_offset`."""
        for tensor, meta in self.tensors:
            tensor.set_(storage, base_offset + meta.storage_offset, meta.shape, meta.strides)

    def let_go(self) -> None:
        """Hold no memory until tensors are pointed somewhere again."""
        for tensor, _ in self.tensors:
            tensor.set_()  # type: ignore[call-overload]  # to no memory at all


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

    def check(self, source: torch.Tensor) -> None:
        """Refuse a tensor of other metadata than was planned for.

        Raises:
            PlanError: it is one.
        """
        if source.shape != self.shape or source.stride() != self.strides or source.dtype != self.dtype:
            raise PlanError(
                f"A plan for {self.dtype} {self.shape} was given {source.dtype} {tuple(source.shape)}; plan the call again."
            )

    def bind(self, source: torch.Tensor) -> None:
        """Use `source`; raises as `check` does."""
        if self.source is not source:
            self.check(source)
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
