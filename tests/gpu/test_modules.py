"""Module calls on a CUDA server: bit for bit those of native PyTorch on the device, first call by call, then as graphs."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

import djinn

DEVICE = "remote_accelerator:0"

pytestmark = pytest.mark.usefixtures("runtime")


class Attention(nn.Module):
    """Self-attention over a cache that the call writes to, and a linear map."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(256, dtype=dtype)
        self.qkv = nn.Linear(256, 768, dtype=dtype)
        self.out = nn.Linear(256, 256, dtype=dtype)

    def forward(self, hidden: torch.Tensor, positions: torch.Tensor, cache: torch.Tensor | None = None) -> torch.Tensor:
        """Attend causally among the tokens, or to what the cache holds up to their positions."""
        batch, tokens, width = hidden.shape
        qkv = self.qkv(self.norm(hidden)).view(batch, tokens, 3, 4, 64).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        if cache is None:
            attended = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            cache[0].index_copy_(2, positions, key)
            cache[1].index_copy_(2, positions, value)
            visible = torch.arange(cache.shape[3], device=hidden.device) <= positions[:, None]
            attended = nn.functional.scaled_dot_product_attention(query, cache[0], cache[1], attn_mask=visible)
        return hidden + self.out(attended.transpose(1, 2).reshape(batch, tokens, width))


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("num_tokens", [1, 128])
@pytest.mark.parametrize("has_cache", [False, True])
def test_calls_equal_native_ones(dtype: torch.dtype, num_tokens: int, has_cache: bool) -> None:
    """Five calls of one module: one call by call, one that is captured, three graphs; inputs change between them."""
    torch.manual_seed(0)
    native = Attention(dtype).eval().requires_grad_(False)
    remote = copy.deepcopy(native).to(DEVICE)
    native.cuda()
    size = (2, 1, 4, 256, 64)
    with torch.no_grad(), djinn.session():
        own = torch.zeros(size, dtype=dtype, device="cuda") if has_cache else None
        cache = torch.zeros(size, dtype=dtype, device=DEVICE) if has_cache else None
        before = djinn.stats()["server"]["device"]["graph_replays"]
        results = []
        for number in range(5):
            hidden = torch.randn(1, num_tokens, 256).to(dtype)
            positions = torch.arange(num_tokens) + number
            expected = native(hidden.cuda(), positions.cuda(), own)
            results.append((remote(hidden.to(DEVICE), positions.to(DEVICE), cache), expected))
        for result, expected in results:
            assert _bits(result) == _bits(expected)
        after = djinn.stats()
        assert after["server"]["device"]["graph_replays"] - before == 4, after["server"]["device"]["plain_replays"]
        assert not after["fallbacks"]
        if cache is not None and own is not None:
            assert _bits(cache) == _bits(own)


def test_inputs_that_stay_are_read_where_they_are() -> None:
    """The same input again, with other elements, and others elsewhere; each result is its own, of one of two graphs."""
    native = Attention(torch.float16).eval().requires_grad_(False)
    remote = copy.deepcopy(native).to(DEVICE)
    native.cuda()
    positions = torch.arange(4)
    with torch.no_grad():
        staying, remote_positions = torch.zeros(1, 4, 256, dtype=torch.float16, device=DEVICE), positions.to(DEVICE)
        before = djinn.stats()["server"]["device"]["graph_captures"]
        results = []
        for number in range(12):
            hidden = torch.randn(1, 4, 256).half()
            passed = hidden.to(DEVICE) if number % 4 == 3 else staying.copy_(hidden)
            results.append((remote(passed, remote_positions), native(hidden.cuda(), positions.cuda())))
    for result, expected in results:
        assert _bits(result) == _bits(expected)
    after = djinn.stats()
    assert after["server"]["device"]["graph_captures"] - before == 2
    assert not after["fallbacks"]


def test_what_travels_with_a_call_and_what_lies_there_take_turns() -> None:
    """A graph reads the former where the plan keeps it, and the latter is copied there."""
    native = Attention(torch.float32).eval().requires_grad_(False)
    remote = copy.deepcopy(native).to(DEVICE)
    native.cuda()
    positions, results = torch.arange(1), []
    before = djinn.stats()["server"]["device"]["graph_replays"]
    with torch.no_grad():
        staying = torch.empty(2, 1, 1, 256, device=DEVICE)
        remote_positions = positions.to(DEVICE).clone()
        for number in range(16):
            hidden = torch.randn(1, 1, 256)
            lying = staying[number % 2].copy_(hidden)
            given = lying if number in (6, 7, 10, 13) else hidden.to(DEVICE)
            results.append((remote(given, remote_positions), native(hidden.cuda(), positions.cuda())))
        assert [_bits(result) for result, _ in results] == [_bits(expected) for _, expected in results]
    assert djinn.stats()["server"]["device"]["graph_replays"] - before >= 12


def test_what_travels_with_a_call_arrives_whole() -> None:
    """Small tensors of every dtype and size, the empty one too, used by threads that have not seen the device before."""
    sent = [torch.randn(size).to(dtype) for size in (0, 1, 3, 4_000) for dtype in (torch.float32, torch.bfloat16)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        arrived = list(pool.map(lambda tensor: (tensor.to(DEVICE) + 0).cpu(), sent))
    assert [_bits(tensor) for tensor in arrived] == [_bits(tensor + 0) for tensor in sent]


def test_operations_equal_native_ones() -> None:
    """Outside of modules too, where every operation is a message; attention chooses the device's kernel."""
    query, key, value = (torch.randn(1, 4, 128, 64, dtype=torch.float16) for _ in range(3))
    with torch.no_grad():
        expected = nn.functional.scaled_dot_product_attention(query.cuda(), key.cuda(), value.cuda(), is_causal=True)
        result = nn.functional.scaled_dot_product_attention(
            query.to(DEVICE), key.to(DEVICE), value.to(DEVICE), is_causal=True
        )
    assert _bits(result) == _bits(expected)
    assert _bits(torch.softmax(query.to(DEVICE), -1)) == _bits(torch.softmax(query.cuda(), -1))


class _Decomposed(nn.Module):
    """Asks for what torch does on the host in part, which no graph can hold, beside a result in planned memory."""

    factor: torch.Tensor

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(2.0))
        self._function = function

    def forward(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the function says, and twice the value."""
        return self._function(value) * self.factor, value * self.factor


@pytest.mark.parametrize(
    ("function", "reason"),
    [(torch.linalg.eigvals, "cannot be captured"), (torch.linalg.inv, "reads data on the host")],
)
def test_what_cannot_be_captured_leaves_nothing_behind(
    function: Callable[[torch.Tensor], torch.Tensor], reason: str
) -> None:
    """Its results are right every time and stay so; graphs from before it and later ones are good, and random numbers."""
    earlier = Attention(torch.float16).eval().requires_grad_(False).to(DEVICE)
    hidden, positions = torch.randn(1, 128, 256).half().to(DEVICE), torch.arange(128).to(DEVICE)
    remote, native, value = _Decomposed(function).to(DEVICE), _Decomposed(function).cuda(), torch.randn(20, 20)
    dropout = nn.Dropout(0.5).train()
    with torch.no_grad():
        unchanged = [_bits(earlier(hidden, positions)) for _ in range(4)]
        expected = [_bits(tensor) for tensor in native(value.cuda())]
        for _ in range(4):
            results = remote(value.to(DEVICE))
            unchanged.append(_bits(earlier(hidden, positions)))
            assert [_bits(tensor) for tensor in results] == expected
        assert len(set(unchanged)) == 1
        reasons = djinn.stats()["server"]["device"]["plain_replays"]
        assert any(reason in each for each in reasons), reasons
        torch.manual_seed(3)
        drawn = dropout(value.cuda())
        torch.manual_seed(3)
        assert _bits(dropout(value.to(DEVICE))) == _bits(drawn)
    test_calls_equal_native_ones(torch.float16, 1, has_cache=True)


def test_random_numbers_are_the_device_s() -> None:
    """A seed draws what it draws natively on the device, in operations and in plans, which are never captured."""
    torch.manual_seed(7)
    expected = torch.randn(1000, device="cuda")
    torch.manual_seed(7)
    assert _bits(torch.randn(1000, device=DEVICE)) == _bits(expected)
    dropout = nn.Dropout(0.5).train()
    value = torch.ones(64, 64)
    with torch.no_grad():
        torch.manual_seed(9)
        expected = [dropout(value.cuda()) for _ in range(3)]
        torch.manual_seed(9)
        results = [dropout(value.to(DEVICE)) for _ in range(3)]
    for result, own in zip(results, expected, strict=True):
        assert _bits(result) == _bits(own)


def test_sessions_come_back_from_the_host_as_they_were() -> None:
    """Four sessions where two fit, each announcing a wait; every one finds its bytes again."""
    digests, states, sessions = [], [], []
    with contextlib.ExitStack() as opened:
        for number in range(4):
            sessions.append(opened.enter_context(djinn.session(f"gpu-{number}")))
            states.append(torch.full((1024, 1024), float(number), device=DEVICE))
            states[-1].add_(torch.arange(1024.0).to(DEVICE))
            digests.append(sessions[-1].checksum())
            djinn.signal_phase("IO_WAIT")
        assert djinn.stats()["scheduler"]["evictions"] >= 2
        for number, (session, state, digest) in enumerate(zip(sessions, states, digests, strict=True)):
            assert session.checksum() == digest
            assert torch.equal(state.cpu(), number + torch.arange(1024.0).expand(1024, 1024))
            djinn.signal_phase("IO_WAIT", session_id=session.session_id)
            assert session.checksum() == digest
