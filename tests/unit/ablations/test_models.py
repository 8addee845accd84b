"""The measured models compute what a transformer computes."""

from __future__ import annotations

import torch

from ablations.models import cache_bytes, make_cache, make_model
from ablations.settings import ModelShape

SHAPE = ModelShape(num_layers=2, d_model=32, num_heads=4, vocabulary=50, context=12)


def test_decoding_with_a_cache_equals_the_full_forward() -> None:
    """Token by token gives the logits that the whole sequence gives, but for rounding."""
    model = make_model(SHAPE, seed=0)
    tokens = torch.randint(SHAPE.vocabulary, (1, 8))
    cache = make_cache(SHAPE, device="cpu")
    with torch.no_grad():
        for end in range(1, 9):
            step = model(tokens[:, end - 1 : end], torch.tensor([end - 1]), cache)
            whole = model(tokens[:, :end], torch.arange(end))
            torch.testing.assert_close(step, whole)


def test_weights_depend_on_the_seed_alone() -> None:
    """And making a model leaves the global random state alone."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (make_model(SHAPE, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.tokens.weight, other.tokens.weight)


def test_cache_bytes_are_the_caches_bytes() -> None:
    """Arenas are sized by this number."""
    cache = make_cache(SHAPE, device="cpu")
    assert sum(tensor.nbytes for pair in cache for tensor in pair) == cache_bytes(SHAPE)
