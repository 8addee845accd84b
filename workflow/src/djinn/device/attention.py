"""Attention chooses its kernel by device; here the choice is the one of the server's device, so that results are its.

torch lets fused attention be chosen for the devices it knows and decomposes it for all others, which rounds differently.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes

from djinn.client import runtime

aten = torch.ops.aten
# torch.nn.attention.SDPBackend, as `_fused_sdp_choice` returns it.
_FLASH, _EFFICIENT, _CUDNN = 1, 2, 3
# Masks of other lengths are padded: the kernel reads 16 elements at once.
_MASK_ALIGNMENT = 16


def scaled_dot_product_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Run attention with the kernel that native PyTorch would choose on the server's device."""
    device_type = runtime.current_client().device_type
    described = tuple(map(_describe, (query, key, value, attn_mask)))
    choice = _choose(device_type, described, dropout_p, is_causal, scale, enable_gqa, _allowed())
    if choice in (_FLASH, _EFFICIENT, _CUDNN) and attn_mask is not None and attn_mask.dtype == torch.bool:
        # What the fused kernels take is added to the scores; torch converts in the same way.
        added = torch.zeros_like(attn_mask, dtype=query.dtype)
        attn_mask = added.masked_fill_(attn_mask.logical_not(), float("-inf"))
    if choice == _FLASH and device_type == "cpu":
        return aten._scaled_dot_product_flash_attention_for_cpu.default(
            query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale
        )[0]
    if choice == _FLASH and query.shape[-1] % 8 == 0:
        return aten._scaled_dot_product_flash_attention.default(
            query, key, value, dropout_p, is_causal, False, scale=scale
        )[0]
    if choice in (_EFFICIENT, _CUDNN):
        fused = (
            aten._scaled_dot_product_efficient_attention
            if choice == _EFFICIENT
            else aten._scaled_dot_product_cudnn_attention
        )
        mask = None if attn_mask is None else _padded(attn_mask, query, key)
        keeps_sums = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
        return fused.default(query, key, value, mask, keeps_sums, dropout_p, is_causal, scale=scale)[0]
    return aten._scaled_dot_product_attention_math.default(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )[0]


def _describe(tensor: torch.Tensor | None) -> Any:
    if tensor is None:
        return None
    return tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, tensor.requires_grad


def _allowed() -> tuple[bool, ...]:
    """Return what else torch's choice depends on."""
    c = torch._C
    kernels = c._get_flash_sdp_enabled(), c._get_math_sdp_enabled(), c._get_mem_efficient_sdp_enabled()
    return (*kernels, c._get_cudnn_sdp_enabled(), torch.is_grad_enabled())


@lru_cache(maxsize=1024)
def _choose(
    device_type: str,
    described: tuple[Any, ...],
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    allowed: Any,
) -> int:
    """Ask torch about tensors on the server's device type that look like the operands; `allowed` is part of the key alone.

    Without such a device here, the choice is the kernel that every device has.
    """
    if device_type == "cuda" and not torch.cuda.is_available():
        return 0
    with _disable_current_modes():
        query, key, value, mask = (_stand_in(item, device_type) for item in described)
        return torch._fused_sdp_choice(
            query, key, value, mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )


def _stand_in(described: Any, device_type: str) -> Any:
    if described is None:
        return None
    shape, strides, dtype, requires_grad = described
    return torch.empty_strided(shape, strides, dtype=dtype, device=device_type, requires_grad=requires_grad)


def _padded(mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return a mask with aligned rows, for all heads."""
    num_keys = mask.shape[-1]
    if num_keys % _MASK_ALIGNMENT:
        mask = functional.pad(mask, (0, _MASK_ALIGNMENT - num_keys % _MASK_ALIGNMENT))[..., :num_keys]
    return mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
