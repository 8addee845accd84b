"""The measured models: a decoder-only transformer in plain torch, with a static KV cache.

Pre-norm blocks with learned positions and a GELU MLP, as in GPT-2. Positions are tensors, never Python numbers, so
that every token of a sequence is the same operation on the same shapes: one plan serves a whole decode loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from ablations.settings import ModelShape

KVCache = list[tuple[torch.Tensor, torch.Tensor]]


class TransformerLayer(nn.Module):
    """One pre-norm block."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_attention = nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.projection = nn.Linear(d_model, d_model)
        self.norm_mlp = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(4 * d_model, d_model)

    def forward(
        self,
        hidden: torch.Tensor,
        positions: torch.Tensor | None = None,
        cache: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Apply the block.

        Args:
            hidden: (batch, tokens, d_model).
            positions: (tokens,) int64 places of the tokens; only with a cache.
            cache: keys and values, each (batch, heads, context, d_head), written at `positions`.

        Returns:
            (batch, tokens, d_model).
        """
        batch, tokens, d_model = hidden.shape
        qkv = self.qkv(self.norm_attention(hidden)).view(batch, tokens, 3, self.num_heads, d_model // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if cache is None:
            attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            assert positions is not None, "a cache is written at positions"
            keys, values = cache
            keys.index_copy_(2, positions, key)
            values.index_copy_(2, positions, value)
            visible = torch.arange(keys.shape[2], device=hidden.device) <= positions[:, None]
            attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=visible)
        hidden = hidden + self.projection(attended.transpose(1, 2).reshape(batch, tokens, d_model))
        result: torch.Tensor = hidden + self.down(functional.gelu(self.up(self.norm_mlp(hidden))))
        return result


class DecoderModel(nn.Module):
    """Token and position embeddings, blocks, and a head tied to the token embedding."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = (shape.num_layers, shape.d_model, shape.num_heads, shape.vocabulary, shape.context)
        self.tokens = nn.Embedding(shape.vocabulary, shape.d_model)
        self.places = nn.Embedding(shape.context, shape.d_model)
        self.layers = nn.ModuleList(TransformerLayer(shape.d_model, shape.num_heads) for _ in range(shape.num_layers))
        self.norm = nn.LayerNorm(shape.d_model)

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor, cache: KVCache | None = None) -> torch.Tensor:
        """Return the logits of the last token.

        Args:
            tokens: (batch, tokens) int64.
            positions: (tokens,) int64.
            cache: one pair for each layer, see `TransformerLayer`; None attends among `tokens` alone.

        Returns:
            (batch, vocabulary).
        """
        hidden = self.tokens(tokens) + self.places(positions)
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden) if cache is None else layer(hidden, positions, cache[number])
        return functional.linear(self.norm(hidden[:, -1]), self.tokens.weight)


def make_model(shape: ModelShape, *, seed: int, device: str = "cpu") -> DecoderModel:
    """Return a model on `device` with random weights that depend on seed and device alone, in evaluation mode."""
    with drawing_weights(shape.dtype, seed=seed, device=device):
        return DecoderModel(shape).eval().requires_grad_(False)


@contextmanager
def drawing_weights(dtype: str, *, seed: int, device: str) -> Iterator[None]:
    """Within this scope, modules are made with weights of `dtype`, drawn on `device` from `seed`."""
    default = torch.get_default_dtype()
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices), torch.device(device):
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype_of(dtype))
        try:
            yield
        finally:
            torch.set_default_dtype(default)


def dtype_of(name: str) -> torch.dtype:
    """Return torch's dtype of this name."""
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def make_cache(shape: ModelShape, *, device: str) -> KVCache:
    """Return an empty cache of batch 1: zeros of (1, heads, context, d_head) for keys and values of each layer."""
    size = (1, shape.num_heads, shape.context, shape.d_model // shape.num_heads)
    dtype = dtype_of(shape.dtype)
    return [
        (torch.zeros(size, device=device, dtype=dtype), torch.zeros(size, device=device, dtype=dtype))
        for _ in range(shape.num_layers)
    ]


def cache_bytes(shape: ModelShape) -> int:
    """Return the bytes of a cache of batch 1."""
    return 2 * shape.num_layers * shape.context * shape.d_model * dtype_of(shape.dtype).itemsize
