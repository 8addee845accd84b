"""Virtual memory of a CUDA device by the driver's own calls.

A range of addresses costs nothing until physical memory is mapped into it, in pages of 2 MiB. Whole ranges are mapped at
once, because every call to the driver takes tens of microseconds, whatever its length.
"""

from __future__ import annotations

import ctypes

import torch

from djinn.errors import OutOfMemoryError
from djinn.memory import cuda_driver as driver
from djinn.memory.device_memory import storage_at

# Names and values are those of cuda.h.
_OUT_OF_MEMORY = 2
_ALLOCATION_TYPE_PINNED = 1
_LOCATION_TYPE_DEVICE = 1
_ACCESS_READ_WRITE = 3
_ATTRIBUTE_VIRTUAL_MEMORY = 102


class _Location(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("id", ctypes.c_int))


class _AllocationFlags(ctypes.Structure):
    _fields_ = (
        ("compression_type", ctypes.c_ubyte),
        ("gpu_direct_rdma_capable", ctypes.c_ubyte),
        ("usage", ctypes.c_ushort),
        ("reserved", ctypes.c_ubyte * 4),
    )


class _AllocationProperties(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("requested_handle_types", ctypes.c_int),
        ("location", _Location),
        ("win32_handle_metadata", ctypes.c_void_p),
        ("flags", _AllocationFlags),
    )


class _Access(ctypes.Structure):
    _fields_ = (("location", _Location), ("flags", ctypes.c_int))


class CudaVirtualMemory:
    """Reserves addresses and maps physical memory of the current CUDA device."""

    def __init__(self) -> None:
        """Ask the driver for its page size.

        Raises:
            DjinnError: the driver cannot be called.
        """
        torch.cuda.init()
        self.device = torch.device("cuda", torch.cuda.current_device())
        location = _Location(_LOCATION_TYPE_DEVICE, self.device.index)
        self._properties = _AllocationProperties(type=_ALLOCATION_TYPE_PINNED, location=location)
        self._access = _Access(location, _ACCESS_READ_WRITE)
        page_bytes = ctypes.c_size_t()
        driver.call("cuMemGetAllocationGranularity", ctypes.byref(page_bytes), ctypes.byref(self._properties), 0)
        self.page_bytes = page_bytes.value

    @classmethod
    def is_supported(cls) -> bool:
        """Tell whether the current device has virtual memory that the driver lets us manage."""
        value = ctypes.c_int()
        torch.cuda.init()
        arguments = ctypes.byref(value), _ATTRIBUTE_VIRTUAL_MEMORY, torch.cuda.current_device()
        code = driver.library().cuDeviceGetAttribute(*arguments)
        return code == 0 and value.value == 1

    def reserve(self, name: str, num_bytes: int) -> int:
        """Reserve addresses; raises as `DeviceMemory` does."""
        address = ctypes.c_uint64()
        size = ctypes.c_size_t(num_bytes)
        zero = ctypes.c_uint64(0)
        code = driver.library().cuMemAddressReserve(ctypes.byref(address), size, ctypes.c_size_t(0), zero, zero)
        if code:
            raise OutOfMemoryError(
                f"The {name} segment cannot reserve {num_bytes} bytes of the device's address space "
                f"({driver.explain(code)}); set a smaller capacity."
            )
        return address.value

    def map(self, name: str, address: int, num_bytes: int) -> None:
        """Map zeroed memory; raises as `DeviceMemory` does."""
        torch.cuda.set_device(self.device)  # a thread that never used the device has no context yet
        handle = self._create(name, num_bytes)
        try:
            driver.call("cuMemMap", _u64(address), _size(num_bytes), _size(0), handle, _u64(0))
        finally:
            # The mapping keeps the memory; without one it goes back at once.
            driver.call("cuMemRelease", handle)
        driver.call("cuMemSetAccess", _u64(address), _size(num_bytes), ctypes.byref(self._access), _size(1))
        # The last owner's bytes may still be there; other streams must not write before they are gone.
        stream = torch.cuda.default_stream()
        with torch.cuda.stream(stream):
            self._bytes(address, num_bytes).zero_()
        stream.synchronize()

    def unmap(self, address: int, num_bytes: int) -> None:
        """Unmap once the work that was handed to the device's default stream is done; others wait for theirs themselves."""
        torch.cuda.default_stream(self.device).synchronize()
        driver.call("cuMemUnmap", _u64(address), _size(num_bytes))

    def storage(self, address: int, num_bytes: int) -> torch.UntypedStorage:
        """Return a storage over mapped memory."""
        return storage_at(address, num_bytes, self.device)

    def _create(self, name: str, num_bytes: int) -> ctypes.c_uint64:
        handle = ctypes.c_uint64()
        arguments = ctypes.byref(handle), _size(num_bytes), ctypes.byref(self._properties), _u64(0)
        code = driver.library().cuMemCreate(*arguments)
        if code == _OUT_OF_MEMORY:
            torch.cuda.empty_cache()  # torch keeps what it freed, which the driver counts as used
            code = driver.library().cuMemCreate(*arguments)
        if code:
            raise OutOfMemoryError(
                f"The {name} segment needs {num_bytes} more bytes of device memory, but {torch.cuda.mem_get_info()[0]} are "
                f"free ({driver.explain(code)}); close sessions, free models or lower GENIE_DATA_BUDGET_MB."
            )
        return handle

    def _bytes(self, address: int, num_bytes: int) -> torch.Tensor:
        return torch.empty(0, dtype=torch.uint8, device=self.device).set_(
            self.storage(address, num_bytes), 0, (num_bytes,), (1,)
        )


def _u64(value: int) -> ctypes.c_uint64:
    return ctypes.c_uint64(value)


def _size(value: int) -> ctypes.c_size_t:
    return ctypes.c_size_t(value)
