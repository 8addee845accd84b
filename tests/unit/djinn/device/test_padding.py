"""Encoders whose batches are padded: what is padding is zero afterwards, as where torch packs them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from support import DEVICE

pytestmark = [pytest.mark.usefixtures("runtime"), pytest.mark.filterwarnings("ignore")]

_LENGTHS = ([5, 2, 4], [1, 5, 5])


def _encoder() -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2).eval()


def _padding(lengths: list[int]) -> torch.Tensor:
    return torch.arange(5)[None] >= torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("is_whole", [True, False], ids=["one plan", "layer by layer"])
def test_padding_is_zero_and_looked_at_by_nobody(mode: Callable[[], Any], is_whole: bool) -> None:
    """Whatever the mask, which the same plan has to take; under autograd torch packs nothing, and neither does the device."""
    native, batch = _encoder(), torch.randn(3, 5, 16)
    remote = copy.deepcopy(native).to(DEVICE)
    for lengths in _LENGTHS:
        padding = _padding(lengths)
        with mode():
            expected = native(batch, src_key_padding_mask=padding)
            encode = remote if is_whole else remote.forward
            actual = encode(batch.to(DEVICE), src_key_padding_mask=padding.to(DEVICE)).cpu()
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(actual[padding] == 0, expected[padding] == 0)


def test_tokens_after_padding_are_not_packed() -> None:
    """The plan of a mask that could be packed is given up for one that could not."""
    native, batch = _encoder(), torch.randn(3, 5, 16)
    remote = copy.deepcopy(native).to(DEVICE)
    for padding in (_padding(_LENGTHS[0]), _padding(_LENGTHS[0]).flip(1), _padding(_LENGTHS[1])):
        with torch.no_grad():
            expected = native(batch, src_key_padding_mask=padding)
            actual = remote(batch.to(DEVICE), src_key_padding_mask=padding.to(DEVICE)).cpu()
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
