"""Which memory a device type has: the one place where segments and host pools are chosen by it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from djinn.errors import ConfigurationError
from djinn.memory.cuda_memory import CudaVirtualMemory
from djinn.memory.device_memory import AllocatedMemory, DeviceMemory
from djinn.memory.device_region import DeviceRegion
from djinn.memory.host_pool import HostPool
from djinn.memory.host_region import HostRegion
from djinn.memory.pinned_pool import PinnedPool
from djinn.memory.region import Region

MakeRegion = Callable[[str, int], Region]


def require_device(device_type: str) -> None:
    """Refuse a device type that is not there.

    Raises:
        ConfigurationError: this machine or build of torch has none.
    """
    if device_type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("Setting device_type is 'cuda', but torch finds no CUDA device here; set it to 'cpu'.")


def region_maker(device_type: str) -> MakeRegion:
    """Return what makes a region of a name and a capacity on a device of this type.

    Raises:
        ConfigurationError: this machine or build of torch has none.
    """
    require_device(device_type)
    if device_type == "cpu":
        return HostRegion
    memory: DeviceMemory = (
        CudaVirtualMemory() if CudaVirtualMemory.is_supported() else AllocatedMemory(torch.device(device_type, 0))
    )
    return lambda name, capacity_bytes: DeviceRegion(name, capacity_bytes, memory)


def make_host_pool(device_type: str, capacity_bytes: int) -> HostPool:
    """Return the host pool beside a device of this type.

    Raises:
        OutOfMemoryError: the host does not let so much be locked.
    """
    if device_type == "cpu":
        return HostPool()
    return PinnedPool(torch.device(device_type, torch.cuda.current_device()), capacity_bytes)
