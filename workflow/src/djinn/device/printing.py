"""Tensors on the device as text, as torch prints tensors on the host."""

from __future__ import annotations

import torch

_PREFIX = "tensor("


def text_of(tensor: torch.Tensor, host: torch.Tensor) -> str:
    """Return what torch would print.

    Args:
        tensor: what is printed.
        host: its elements.
    """
    contents = torch._tensor_str._tensor_str(host, len(_PREFIX)) if host.numel() else "[]"
    text: str = torch._tensor_str._add_suffixes(_PREFIX + contents, _suffixes(tensor), len(_PREFIX), False)
    return f"Parameter containing:\n{text}" if isinstance(tensor, torch.nn.Parameter) else text


def _suffixes(tensor: torch.Tensor) -> list[str]:
    found = [f"device='{tensor.device}'"]
    if tensor.numel() == 0 and tensor.dim() != 1:
        found.append(f"size={tuple(tensor.shape)}")
    if not _is_evident(tensor.dtype, is_empty=tensor.numel() == 0):
        found.append(f"dtype={tensor.dtype}")
    if tensor.grad_fn is not None:
        found.append(f"grad_fn=<{tensor.grad_fn.name().rsplit('::', 1)[-1]}>")
    elif tensor.requires_grad:
        found.append("requires_grad=True")
    return found


def _is_evident(dtype: torch.dtype, *, is_empty: bool) -> bool:
    """Tell whether the elements show what dtype they have."""
    default = torch.get_default_dtype()
    if is_empty:
        return dtype == default
    default_complex = torch.complex128 if default == torch.float64 else torch.complex64
    return dtype in (default, default_complex, torch.int64, torch.bool)
