"""Registers `remote_accelerator` with torch: name, device module, factory kernels."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from djinn.client import runtime
from djinn.core import TensorMeta
from djinn.device import aliasing, composites, gradients, moving, recurrent
from djinn.device.compilation import keep_compilers_out
from djinn.device.dispatch import copy_, dispatch
from djinn.device.mutations import refuse_in_simulation
from djinn.device.tensor import DEVICE, DEVICE_NAME, RemoteTensor, is_own_device
from djinn.device.transfer import make_uninitialised
from djinn.errors import UnsupportedOperatorError
from djinn.protocol import messages as m

_library: torch.library.Library | None = None


class _NoDtypes(list[torch.dtype]):
    """The dtypes that autocast converts to; torch looks one up where autocast shall be on, as it may not be.

    Raises:
        UnsupportedOperatorError: when it does.
    """

    def __contains__(self, dtype: object) -> bool:
        raise UnsupportedOperatorError(
            f"torch.autocast is not supported on {DEVICE}; convert the module and its inputs with .to(dtype)."
        )


class DeviceModule:
    """What torch asks of `torch.remote_accelerator`."""

    def is_available(self) -> bool:
        """The device exists wherever a server can be started."""
        return True

    def is_initialized(self) -> bool:
        """Tell whether the runtime is initialised."""
        return runtime.is_running()

    def current_device(self) -> int:
        """There is one device, number 0."""
        return 0

    def device_count(self) -> int:
        """There is one device."""
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        """Return the state of this process's random numbers on the server, a uint8 host tensor.

        Without a server there is none, and the tensor is empty: `torch.random.fork_rng` asks every device that exists.
        """
        if not runtime.is_running():
            return torch.empty(0, dtype=torch.uint8)
        _, payload = runtime.current_client().request(m.RandomState())
        return torch.frombuffer(bytearray(payload), dtype=torch.uint8)

    def set_rng_state(self, new_state: torch.Tensor, device: Any = None) -> None:
        """Restore a state that `get_rng_state` returned; an empty one says that there was none."""
        refuse_in_simulation("sets the state of random numbers")
        if new_state.numel():
            runtime.current_client().request(m.RandomState(), new_state.numpy().data)

    def synchronize(self, device: Any = None) -> None:
        """Every call has been executed when it returns, so there is nothing to wait for."""

    @property
    def _initialized(self) -> bool:
        """What checkpointing asks before it keeps the state of the random numbers for the second forward pass."""
        return self.is_initialized()

    def device(self, index: Any) -> Any:
        """Return a scope in which the device of this number is current; there is one."""
        return nullcontext()

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """torch asks for this when autocast is made for the device, on or off."""
        return _NoDtypes()

    def manual_seed_all(self, seed: int) -> None:
        """Seed this process's random numbers on the server; `torch.manual_seed` calls it."""
        refuse_in_simulation("seeds random numbers")
        if runtime.is_running():
            runtime.current_client().request(m.Seed(seed=seed & (2**63 - 1)))


def register() -> None:
    """Register the device; later calls do nothing, since torch allows one renaming a process."""
    global _library
    if _library is not None:
        return
    _setup_privateuseone_for_python_backend(
        DEVICE_NAME, backend_module=DeviceModule(), device_guard=gradients.DeviceGuard()
    )
    gradients.install()
    keep_compilers_out()
    _library = torch.library.Library("aten", "IMPL")
    _library.impl("empty.memory_format", _empty, "PrivateUse1")
    _library.impl("empty_strided", _empty_strided, "PrivateUse1")
    _library.impl("_copy_from", _copy_from, "PrivateUse1")
    _library.impl("_efficientzerotensor", torch.zeros, "PrivateUse1")
    composites.register(_library)
    # What torch does not bring to the tensors' own dispatch: factories, and what it asks of tensors in a list of numbers.
    _library.impl("tril_indices", _tril_indices, "PrivateUse1")
    _library.impl("triu_indices", _triu_indices, "PrivateUse1")
    _library.impl("_local_scalar_dense", _local_scalar_dense, "PrivateUse1")
    recurrent.register(_library)
    aliasing.register()
    moving.install()


def _empty(
    size: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
    memory_format: Any = None,
) -> RemoteTensor:
    is_own_device(device or DEVICE)
    shaped = torch.empty(size, dtype=dtype, device="meta", memory_format=memory_format or torch.contiguous_format)
    return make_uninitialised(TensorMeta.of(shaped))


def _empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
) -> RemoteTensor:
    is_own_device(device or DEVICE)
    return make_uninitialised(TensorMeta(tuple(size), tuple(stride), dtype or torch.get_default_dtype()))


def _tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, **kwargs: Any) -> Any:
    return torch.tril_indices(row, col, offset, dtype=dtype or torch.int64, device="cpu").to(device)


def _triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, **kwargs: Any) -> Any:
    return torch.triu_indices(row, col, offset, dtype=dtype or torch.int64, device="cpu").to(device)


def _local_scalar_dense(tensor: torch.Tensor) -> Any:
    return dispatch(torch.ops.aten._local_scalar_dense.default, (tensor,), {})


def _copy_from(source: torch.Tensor, destination: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    return copy_(destination, source, non_blocking)
