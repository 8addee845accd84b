"""Attention chooses its kernel by device; here the choice is the one that the CPU makes, so that results are its.

torch lets fused attention be chosen for the devices it knows and decomposes it for all others, which rounds differently.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

aten = torch.ops.aten
# torch.nn.attention.SDPBackend.FLASH_ATTENTION, as `_fused_sdp_choice` returns it.
_FLASH = 1


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
    """Run attention with the kernel that native PyTorch would choose on the CPU."""
    described = tuple(map(_describe, (query, key, value, attn_mask)))
    allowed = torch._C._get_flash_sdp_enabled(), torch._C._get_math_sdp_enabled(), torch.is_grad_enabled()
    if _choose(described, dropout_p, is_causal, scale, enable_gqa, allowed) != _FLASH:
        return aten._scaled_dot_product_attention_math.default(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )[0]
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        # What the CPU's kernel takes is added to the scores; torch converts in the same way.
        added = torch.zeros_like(attn_mask, dtype=query.dtype)
        attn_mask = added.masked_fill_(attn_mask.logical_not(), float("-inf"))
    return aten._scaled_dot_product_flash_attention_for_cpu.default(
        query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale
    )[0]


def _describe(tensor: torch.Tensor | None) -> Any:
    if tensor is None:
        return None
    return tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, tensor.requires_grad


@lru_cache(maxsize=1024)
def _choose(
    described: tuple[Any, ...], dropout_p: float, is_causal: bool, scale: float | None, enable_gqa: bool, allowed: Any
) -> int:
    """Ask torch about tensors on the host that look like the operands; what is allowed is part of the key alone."""
    with _disable_current_modes():
        query, key, value, mask = map(_stand_in, described)
        return torch._fused_sdp_choice(
            query, key, value, mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )


def _stand_in(described: Any) -> Any:
    if described is None:
        return None
    shape, strides, dtype, requires_grad = described
    return torch.empty_strided(shape, strides, dtype=dtype, requires_grad=requires_grad)
