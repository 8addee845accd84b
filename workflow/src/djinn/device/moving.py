"""The short way of a small host tensor to the device, past three of torch's dispatches.

`tensor.to(device)` makes an empty tensor there and copies into it. Torch reaches this package twice on that way, through code
that a token's computation has driven out of the caches: it takes longer than sending the call that uses the token. So
a tensor's `to` is asked here first, and torch is whenever anything but the elements of one plain tensor matters.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch.autograd import forward_ad

from djinn.device.tensor import DEVICE, DEVICE_NAME
from djinn.device.transfer import can_be_inlined, make_inlined

_torch_to = torch.Tensor.to
_NAMES = frozenset({DEVICE, DEVICE_NAME})
# A copy to this device is always done when it returns.
_IGNORED = {"non_blocking"}
_len_function_stack = torch._C._len_torch_function_stack
_len_dispatch_stack = torch._C._len_torch_dispatch_stack
_tracing_state = torch._C._get_tracing_state


def _keys_of(tensor: torch.Tensor) -> int:
    keys: int = torch._C._dispatch_keys(tensor).raw_repr()
    return keys


with torch.inference_mode():
    _INFERENCE_KEYS = _keys_of(torch.empty(0, device="cpu"))
with torch.inference_mode(False):
    # Sparse, quantised, conjugate, nested, batched and other tensors whose bytes are not their elements have more keys.
    _PLAIN_KEYS = {_keys_of(torch.empty(0, device="cpu")), _INFERENCE_KEYS}


class To:
    """`torch.Tensor.to` of this process: what tensors find; whoever asks their class finds torch's own.

    Subclasses and tracers know functions by identity, and ask the class.
    """

    def __get__(self, tensor: torch.Tensor | None, owner: type | None = None) -> Any:
        """Return the method of a tensor, or the function of a class."""
        return _torch_to if tensor is None else MethodType(to, tensor)


def to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Return the tensor with another dtype or on another device, as torch does."""
    if len(args) == 1 and _is_own(args[0]) and kwargs.keys() <= _IGNORED and _is_plain(self):
        return make_inlined(self)
    moved: torch.Tensor = _torch_to(self, *args, **kwargs)
    return moved


def install() -> None:
    """Be asked before torch is."""
    torch.Tensor.to = To()  # type: ignore[assignment,method-assign]


def _is_own(device: Any) -> bool:
    if type(device) is torch.device:
        return device.type == DEVICE_NAME and not device.index
    return type(device) is str and device in _NAMES


def _is_plain(source: torch.Tensor) -> bool:
    """Tell whether nothing of a tensor matters but its elements, and nobody watches what torch does."""
    return (
        type(source) is torch.Tensor
        # They would see what is asked of the tensor next.
        and not _len_function_stack()
        and not _len_dispatch_stack()
        and _tracing_state() is None
        and forward_ad._current_level < 0
        and not source.requires_grad
        and _keys_of(source) in _PLAIN_KEYS
        and can_be_inlined(source)
    )
