"""What a thread's state of torch says of its next call: whether that can have a plan, and what decides which."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad
from torch.backends import mha
from torch.utils._device import DeviceContext

from djinn.tracing import UnplannableError

# Asked at each call.
_is_recording = torch.is_grad_enabled
_is_inference = torch.is_inference_mode_enabled
_default_dtype = torch.get_default_dtype
_is_math_attention = torch._C._get_math_sdp_enabled
_is_flash_attention = torch._C._get_flash_sdp_enabled
_tracing_state = torch._C._get_tracing_state
_is_autocast = torch._C._is_any_autocast_enabled
_len_dispatch_stack = torch._C._len_torch_dispatch_stack
# How many function modes are active, which see how a call is sent.
num_function_modes = torch._C._len_torch_function_stack


def refusal() -> str | None:
    """Return why no call can have a plan now, or None."""
    if _is_recording():
        return "autograd is recording; call under torch.no_grad() for a plan"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation is on"
    if _is_autocast():
        return "autocast is on"
    if _tracing_state() is not None:
        return "torch.jit is tracing"
    if _len_dispatch_stack():
        return "a torch dispatch mode is active"
    return None


def settings() -> tuple[Any, ...]:
    """Return what decides which operations a call performs, beside its module and arguments.

    Raises:
        UnplannableError: a torch function mode is active that is not the scope of a device.
    """
    return (
        _is_inference(),
        _default_dtype(),
        _is_math_attention(),
        _is_flash_attention(),
        mha._is_fastpath_enabled,
        _default_devices() if num_function_modes() else None,
    )


def _default_devices() -> tuple[torch.device | None, ...]:
    """Return the devices of the scopes that this thread is in; raises as `settings` does."""
    modes = torch.overrides._get_current_function_mode_stack()
    if not all(isinstance(mode, DeviceContext) for mode in modes):
        raise UnplannableError("a torch function mode is active")
    return tuple(mode.device for mode in modes)
