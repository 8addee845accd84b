"""What a device region asks of its device's memory, and the variant that every torch device has."""

from __future__ import annotations

from typing import Protocol

import torch

from djinn.errors import OutOfMemoryError
from djinn.units import MiB


class DeviceMemory(Protocol):
    """Address space and physical memory of one device.

    Attributes:
        device: it.
        page_bytes: what can be mapped at least.
    """

    device: torch.device
    page_bytes: int

    def reserve(self, name: str, num_bytes: int) -> int:
        """Return the address of a reserved range.

        Raises:
            OutOfMemoryError: there is none of this length.
        """

    def map(self, name: str, address: int, num_bytes: int) -> None:
        """Put memory that reads zero behind whole pages of a reserved range.

        Raises:
            OutOfMemoryError: there is not so much.
        """

    def unmap(self, address: int, num_bytes: int) -> None:
        """Take away what one `map` put there, once nothing that runs uses it."""

    def storage(self, address: int, num_bytes: int) -> torch.UntypedStorage:
        """Return a storage over mapped memory, which it does not own."""


class AllocatedMemory:
    """For devices without virtual memory: reserving allocates, mapping zeroes, and nothing is given back."""

    def __init__(self, device: torch.device, page_bytes: int = 2 * MiB) -> None:
        self.device = device
        self.page_bytes = page_bytes
        self._allocations: list[torch.Tensor] = []

    def reserve(self, name: str, num_bytes: int) -> int:
        """Allocate; raises as `DeviceMemory` does."""
        try:
            allocation = torch.empty(num_bytes + self.page_bytes, dtype=torch.uint8, device=self.device)
        except RuntimeError as error:  # torch's own out-of-memory error, or a length that no allocator takes
            raise OutOfMemoryError(
                f"The {name} segment cannot allocate {num_bytes} bytes on {self.device}, which has no virtual memory; "
                f"set GENIE_{name.upper()}{'_CAPACITY' if name == 'Data' else ''}_MB to what fits."
            ) from error
        self._allocations.append(allocation)
        return -(-allocation.data_ptr() // self.page_bytes) * self.page_bytes

    def map(self, name: str, address: int, num_bytes: int) -> None:
        """Zero the range."""
        self._bytes(address, num_bytes).zero_()

    def unmap(self, address: int, num_bytes: int) -> None:
        """Nothing: the allocation stays."""

    def storage(self, address: int, num_bytes: int) -> torch.UntypedStorage:
        """Return a storage over the allocation."""
        return storage_at(address, num_bytes, self.device)

    def _bytes(self, address: int, num_bytes: int) -> torch.Tensor:
        return torch.empty(0, dtype=torch.uint8, device=self.device).set_(
            self.storage(address, num_bytes), 0, (num_bytes,), (1,)
        )


def storage_at(address: int, num_bytes: int, device: torch.device) -> torch.UntypedStorage:
    """Return a storage over memory that somebody else owns."""
    storage = torch._C._construct_storage_from_data_pointer(address, device, num_bytes)
    assert isinstance(storage, torch.UntypedStorage), "torch made a storage of another kind"
    return storage
