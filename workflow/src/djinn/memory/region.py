"""What the segments ask of memory: one range of addresses that is reserved at once and committed when it is used."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from djinn.core import TensorMeta


class Region(ABC):
    """Memory that reads zero until written, and again after `discard`.

    Attributes:
        name: of the segment, for messages.
        capacity_bytes: its length.
        page_bytes: what is committed and returned at least.
    """

    name: str
    capacity_bytes: int
    page_bytes: int

    @abstractmethod
    def tensor(self, offset_bytes: int, meta: TensorMeta) -> torch.Tensor:
        """Return a tensor of `meta` over a storage of its own that begins at `offset_bytes`.

        A storage that ended with the region would show through in the tensor's storage offset, and with it in plan keys.
        """

    @abstractmethod
    def bytes_view(self, offset_bytes: int, num_bytes: int) -> torch.Tensor:
        """Return `num_bytes` from `offset_bytes` as a uint8 tensor of shape (num_bytes,), ready to be used."""

    @abstractmethod
    def commit(self, offset_bytes: int, num_bytes: int) -> None:
        """Make every page of the range resident without changing what it reads."""

    @abstractmethod
    def discard(self, offset_bytes: int, num_bytes: int) -> None:
        """Return the whole pages of a page-aligned range to the system; they read zero afterwards."""

    @abstractmethod
    def discard_freed(self, freed: range, free: range) -> None:
        """Return to the system those pages of the bytes `freed` in which nothing lies but the bytes `free` around them."""

    def advise_huge_pages(self) -> None:  # noqa: B027  # nothing is right where pages are large
        """Ask for pages that take fewer address translations; a device's are large already."""

    @property
    @abstractmethod
    def committed_bytes(self) -> int | None:
        """Bytes that are resident; None where only the system knows."""

    def _check_range(self, offset_bytes: int, meta: TensorMeta) -> int:
        """Return the bytes that a tensor of `meta` reaches."""
        num_bytes = meta.extent_bytes
        assert offset_bytes + num_bytes <= self.capacity_bytes, (
            f"{meta} at {offset_bytes} leaves the {self.name} segment"
        )
        return num_bytes

    def _check_page(self, offset_bytes: int) -> None:
        assert offset_bytes % self.page_bytes == 0, f"discard at {offset_bytes} is not page-aligned"
