"""Models that nobody here wrote run through plans and equal native PyTorch bit for bit, forward and generating."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import djinn
from support import DEVICE

transformers = pytest.importorskip("transformers", reason="transformers is a pin of the tests alone")
pytestmark = pytest.mark.usefixtures("runtime")

_VOCABULARY = 100
_COMMON = {
    "vocab_size": _VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2}


def _gpt2() -> nn.Module:
    sizes = {"vocab_size": _VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    config = transformers.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    return transformers.GPT2LMHeadModel(config)


def _t5() -> nn.Module:
    sizes = {"vocab_size": _VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    config = transformers.T5Config(**sizes, decoder_start_token_id=0, pad_token_id=0, eos_token_id=2)
    return transformers.T5ForConditionalGeneration(config)


def _vit() -> nn.Module:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return transformers.ViTForImageClassification(transformers.ViTConfig(**sizes, image_size=32, patch_size=8))


def _whisper() -> nn.Module:
    both = {"layers": 2, "attention_heads": 4, "ffn_dim": 64}
    sizes = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in both.items()}
    positions = {"max_source_positions": 32, "max_target_positions": 32, "num_mel_bins": 8}
    tokens = {"decoder_start_token_id": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    suppressed = {"suppress_tokens": None, "begin_suppress_tokens": None}
    config = transformers.WhisperConfig(
        vocab_size=_VOCABULARY, d_model=32, **sizes, **positions, **tokens, **suppressed
    )
    return transformers.WhisperForConditionalGeneration(config)


_MODELS: dict[str, Callable[[], nn.Module]] = {
    "gpt2": _gpt2,
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**_GROUPED)),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_GROUPED)),
    "mistral": lambda: transformers.MistralForCausalLM(transformers.MistralConfig(**_GROUPED)),
    "mixtral": lambda: transformers.MixtralForCausalLM(transformers.MixtralConfig(**_GROUPED, num_local_experts=4)),
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**_COMMON)),
    "t5": _t5,
    "vit": _vit,
    "whisper": _whisper,
}
_GENERATING = [name for name in _MODELS if name not in ("bert", "vit")]


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    djinn.plan_cache.clear()
    yield
    djinn.plan_cache.clear()


def _pair(name: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    native = _MODELS[name]().eval()
    return native, copy.deepcopy(native).to(DEVICE)


def _inputs(name: str) -> dict[str, torch.Tensor]:
    tokens = torch.randint(3, _VOCABULARY, (1, 7))
    if name == "vit":
        return {"pixel_values": torch.randn(1, 3, 32, 32)}
    if name == "whisper":
        return {"input_features": torch.randn(1, 8, 64), "decoder_input_ids": tokens[:, :3]}
    return {"input_ids": tokens, "decoder_input_ids": tokens[:, :3]} if name == "t5" else {"input_ids": tokens}


def _on_device(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.to(DEVICE) for name, tensor in inputs.items()}


def _tensors(result: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]


def _fallbacks() -> dict[str, int]:
    return dict(djinn.stats()["fallbacks"])


@pytest.mark.parametrize("name", _MODELS)
def test_a_forward_is_one_plan_and_exact(name: str) -> None:
    """Every tensor of the result, its KV cache among them, on the first call and on a hit."""
    native, remote = _pair(name)
    inputs = _inputs(name)
    before = _fallbacks()
    with torch.no_grad():
        expected = native(**inputs)
        for expected_hit in (False, True):
            actual = remote(**_on_device(inputs))
            timestamps = djinn.last_call()
            assert timestamps is not None
            assert timestamps.cache_hit is expected_hit
            assert type(actual) is type(expected)
            tensors = _tensors(actual)
            assert len(tensors) == len(_tensors(expected)) > 0
            assert all(torch.equal(a.cpu(), e) for a, e in zip(tensors, _tensors(expected), strict=True))
    assert _fallbacks() == before


@pytest.mark.parametrize("name", _GENERATING)
def test_cached_greedy_generation_runs_through_plans(name: str) -> None:
    """The growing cache that `generate` keeps is an argument that calls change; a second run finds every plan."""
    native, remote = _pair(name)
    inputs = {key: value for key, value in _inputs(name).items() if not key.startswith("decoder")}
    expected = native.generate(**inputs, max_new_tokens=6, do_sample=False)
    before = _fallbacks()
    remote.generate(**_on_device(inputs), max_new_tokens=6, do_sample=False)
    misses = djinn.plan_cache.misses
    actual = remote.generate(**_on_device(inputs), max_new_tokens=6, do_sample=False)
    assert torch.equal(actual.cpu(), expected)
    assert djinn.plan_cache.misses == misses
    assert _fallbacks() == before


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(torch.relu(self.norm(self.first(x)))) + x)


def _resnet() -> nn.Module:
    stem = [nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, _Residual(8), _Residual(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


_PLAIN: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "transformer": (lambda: nn.Transformer(32, 4, 2, 2, 64, batch_first=True), ((2, 5, 32), (2, 3, 32))),
    "attention": (lambda: nn.MultiheadAttention(32, 4), ((5, 2, 32), (7, 2, 32), (7, 2, 32))),
    "lstm": (lambda: nn.LSTM(8, 16, 2, bidirectional=True), ((5, 2, 8),)),
    "gru": (lambda: nn.GRU(8, 16, 2), ((5, 2, 8),)),
    "resnet": (_resnet, ((2, 3, 32, 32),)),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), ((2, 4),)),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), ((2, 4),)),
}


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", _PLAIN)
def test_plain_modules_are_planned_and_exact(name: str, mode: str) -> None:
    """Dropout included: the same seed draws the same numbers."""
    make, shapes = _PLAIN[name]
    torch.manual_seed(0)
    native = getattr(make(), mode)()
    remote = copy.deepcopy(native).to(DEVICE)
    before = _fallbacks()
    with torch.no_grad():
        for seed in range(3):
            inputs = [torch.randn(shape) for shape in shapes]
            torch.manual_seed(seed)
            expected = _tensors(native(*inputs))
            torch.manual_seed(seed)
            actual = _tensors(remote(*(x.to(DEVICE) for x in inputs)))
            for a, e in zip(actual, expected, strict=True):
                assert torch.equal(a.cpu(), e)
                assert a.stride() == e.stride()
    assert _fallbacks() == before


def test_packed_sequences_run_operation_by_operation() -> None:
    """Their batch sizes lie on the host, whatever the device."""
    native = nn.LSTM(4, 8).eval()
    remote = copy.deepcopy(native).to(DEVICE)
    x = torch.randn(5, 2, 4)
    with torch.no_grad():
        expected, _ = native(nn.utils.rnn.pack_padded_sequence(x, [5, 3]))
        actual, _ = remote(nn.utils.rnn.pack_padded_sequence(x.to(DEVICE), [5, 3]))
    assert torch.equal(actual.data.cpu(), expected.data)
    unpacked, lengths = nn.utils.rnn.pad_packed_sequence(actual)
    assert torch.equal(unpacked.cpu(), nn.utils.rnn.pad_packed_sequence(expected)[0])
    assert lengths.tolist() == [5, 3]


def test_recurrent_layers_train() -> None:
    """Gradients agree with the CPU's to rounding; dropout between layers is refused, not left out."""
    native = nn.LSTM(4, 8, num_layers=2)
    remote = copy.deepcopy(native).to(DEVICE)
    x = torch.randn(5, 2, 4)
    native(x)[0].sum().backward()
    remote(x.to(DEVICE))[0].sum().backward()
    for (name, expected), actual in zip(native.named_parameters(), remote.parameters(), strict=True):
        torch.testing.assert_close(actual.grad.cpu(), expected.grad, msg=name)
    remote.dropout = 0.5
    with pytest.raises(NotImplementedError, match="dropout"):
        remote(x.to(DEVICE))
