"""Tensors that come to share elements other than by views: detaching, `set_`, copying, and loading from files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from djinn.device.tensor import DEVICE, DEVICE_NAME, RemoteTensor
from djinn.device.transfer import upload
from djinn.errors import UnsupportedOperatorError
from djinn.tracing import facts_of, result_scope

# Before those that torch registers, of which one would ask for memory on the device.
_PRIORITY = 5


def alias(source: RemoteTensor) -> RemoteTensor:
    """Return another tensor over the same elements."""
    return source.alias(result_scope(facts_of(torch.ops.aten.alias.default), (source,)))


def set_to_tensor(destination: RemoteTensor, source: torch.Tensor) -> RemoteTensor:
    """Let a tensor be one over another's elements; torch has checked devices and dtypes."""
    assert isinstance(source, RemoteTensor), "a tensor was set to one elsewhere"
    destination.adopt(alias(source))
    return destination


def set_to_storage(
    destination: RemoteTensor,
    source: torch.UntypedStorage,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int] = (),
) -> RemoteTensor:
    """Let a tensor be a view of a storage that came from a file; torch leaves out the strides of one without dimensions.

    Raises:
        UnsupportedOperatorError: it came from elsewhere.
    """
    if not isinstance(source, _Placed):
        raise UnsupportedOperatorError(
            f"A tensor on {DEVICE} was set to a storage, which this device does not know; set it to a tensor."
        )
    return set_to_tensor(destination, source.on_device(destination.dtype).as_strided(size, stride, offset))


def register() -> None:
    """Let `torch.load` place what it reads on the device."""
    torch.serialization.register_package(_PRIORITY, lambda storage: None, _place)


class _Placed(torch.UntypedStorage):
    """A storage on the host that says that it is on the device, where tensors over it will be."""

    _flat: dict[torch.dtype, RemoteTensor]

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device(DEVICE_NAME, 0)

    def on_device(self, dtype: torch.dtype) -> RemoteTensor:
        """Return its elements on the device, the same at each call, so that tensors share them as they did."""
        if dtype not in self._flat:
            self._flat[dtype] = upload(torch.empty(0, dtype=dtype).set_(self))
        return self._flat[dtype]


def _place(storage: Any, location: str) -> Any:
    if torch.device(location).type != DEVICE_NAME:
        return None
    storage.__class__, storage._flat = _Placed, {}
    return storage
