"""Padded batches of `nn.TransformerEncoder`, which packs them into nested tensors where a mask tells what is padding.

This device holds no nested tensors. Here such a batch stays padded and carries its mask from layer to layer, so that what
comes out is what torch unpacks: the padding is zero, and no token has looked at it.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn

aten = torch.ops.aten
# `src_key_padding_mask`, as torch's fused layer numbers the kinds of masks.
_PADDING_MASK = 1
_MASK_POSITION = 18


def is_left_aligned(batch: torch.Tensor, is_token: torch.Tensor) -> bool:
    """Tell whether every row of the batch holds its tokens before its padding, and all layers can be told so."""
    if not _all_layers_are_fused():
        return False
    return not (is_token[:, 1:] & is_token[:, :-1].logical_not()).any().item()


def _all_layers_are_fused() -> bool:
    """Tell whether the encoder that asks has layers that torch runs as one operation each, which then gets the mask.

    torch looks at the first one alone; where another one leaves that path, it goes on with nested tensors.
    """
    frame = sys._getframe()
    while frame is not None and frame.f_code is not nn.TransformerEncoder.forward.__code__:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None and all(map(_is_fused, frame.f_locals["self"].layers))


def _is_fused(layer: Any) -> bool:
    return (
        type(layer) is nn.TransformerEncoderLayer
        and type(layer.self_attn) is nn.MultiheadAttention
        and not layer.training
        and not layer.norm_first
        and layer.activation_relu_or_gelu > 0
        and layer.norm1.eps == layer.norm2.eps
        and layer.self_attn.batch_first
        and layer.self_attn._qkv_same_embed_dim
        and layer.self_attn.in_proj_bias is not None
        and layer.self_attn.num_heads % 2 == 0
        and not any(part._forward_hooks or part._forward_pre_hooks for part in layer.modules())
    )


def pack(batch: torch.Tensor, is_token: torch.Tensor, mask_check: bool = True) -> torch.Tensor:
    """Return the batch, (batch, token, feature), with its mask."""
    return _with_padding(aten.alias.default(batch), is_token.logical_not())


def run_layer(batch: torch.Tensor, *args: Any) -> Any:
    """Run a fused layer on a batch that carries a mask; NotImplemented for others, and for those that have another too."""
    padding = getattr(batch, "_padding", None)
    if padding is None or any(operand is not None for operand in args[_MASK_POSITION - 1 :]):
        return NotImplemented
    result = aten._transformer_encoder_layer_fwd.default(batch, *args[: _MASK_POSITION - 1], padding, _PADDING_MASK)
    return _with_padding(result, padding)


def unpack(batch: torch.Tensor, value: float, size: Any = None) -> Any:
    """Return the batch with this value where its mask tells that there is padding; NotImplemented without a mask."""
    padding = getattr(batch, "_padding", None)
    return NotImplemented if padding is None else batch.masked_fill(padding[..., None], value)


def carries_mask(batch: torch.Tensor) -> bool:
    """Tell whether a tensor is a batch with its mask, which a plan would not see among its arguments."""
    return hasattr(batch, "_padding")


def _with_padding(batch: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    batch._padding = padding  # type: ignore[attr-defined]
    batch.is_watched = True  # type: ignore[attr-defined] # so that plans look at it twice
    return batch
