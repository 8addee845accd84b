"""Attention chooses its kernel by device; here the choice is the one that the CPU makes, so that results are its.

torch lets fused attention be chosen for the devices it knows and decomposes it for all others, which rounds differently.
"""

from __future__ import annotations

from typing import Any

import torch

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
    choice = torch._fused_sdp_choice(
        _stand_in(query),
        _stand_in(key),
        _stand_in(value),
        attn_mask=None if attn_mask is None else _stand_in(attn_mask),
        dropout_p=dropout_p,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
    )
    if choice != _FLASH:
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


def _stand_in(tensor: torch.Tensor) -> torch.Tensor:
    """Return an uninitialised host tensor that looks like a remote one."""
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    return made.requires_grad_(tensor.requires_grad) if tensor.is_floating_point() else made
