"""Whatever Python values a call takes, changes and returns, a plan leaves its caller with what the call would have."""

from __future__ import annotations

import copy
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch
from torch import nn

import djinn
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")
Point = namedtuple("Point", ["x", "y"])


class Cache:
    """A plain object as libraries keep their KV caches in."""

    def __init__(self) -> None:
        self.keys: torch.Tensor | None = None
        self.length = 0
        self.history: list[Any] = []


class Plain:
    """A plain object."""

    def __init__(self, factor: float) -> None:
        self.factor = factor


class Growing(nn.Linear):
    """Appends to a cache in several ways and returns it."""

    def forward(self, x: torch.Tensor, cache: Cache) -> Any:
        """Return a tensor and the cache itself."""
        y = super().forward(x)
        cache.keys = y if cache.keys is None else torch.cat([cache.keys, y])
        cache.length += len(x)
        cache.history.append({"at": cache.length, "value": y})
        return y, cache


def _pair(module: nn.Module) -> tuple[Any, Any]:
    return module.eval(), copy.deepcopy(module).eval().to(DEVICE)


def _assert_planned(*, hit: bool | None = None) -> None:
    timestamps = djinn.last_call()
    assert timestamps is not None
    assert timestamps.planned
    assert hit is None or timestamps.cache_hit is hit


def test_objects_that_a_call_changes_are_changed() -> None:
    """Attributes, numbers and lists of the caller's own object, on misses and on hits."""
    native, remote = _pair(Growing(3, 3))
    with torch.no_grad():
        for repetition in range(2):
            expected_cache, actual_cache = Cache(), Cache()
            history = actual_cache.history
            for _ in range(3):
                x = torch.randn(2, 3)
                expected, _ = native(x, expected_cache)
                actual, returned = remote(x.to(DEVICE), actual_cache)
                _assert_planned(hit=repetition > 0)
                assert returned is actual_cache
                assert torch.equal(actual.cpu(), expected)
            assert actual_cache.history is history
            assert actual_cache.length == expected_cache.length == 6
            assert torch.equal(actual_cache.keys.cpu(), expected_cache.keys)
            for mine, theirs in zip(actual_cache.history, expected_cache.history, strict=True):
                assert mine["at"] == theirs["at"]
                assert torch.equal(mine["value"].cpu(), theirs["value"])


class Returning(nn.Module):
    """Returns what its function makes of its inputs."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.function = [function]

    def forward(self, *args: Any) -> Any:
        """Call the function."""
        return self.function[0](*args, self.weight)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: Point(x + w, [x * w]),
        lambda x, w: OrderedDict(b=x + w, a=(x, None, 7)),
        lambda x, w: torch.max(x + w, dim=-1),
        lambda x, w: {"nested": {"deep": [(x * 2,), 1.5]}},
    ],
    ids=["named tuple", "ordered dictionary", "torch's own", "nested"],
)
def test_results_keep_their_types(function: Any) -> None:
    """The same containers as natively, with the same tensors in them."""
    native, remote = _pair(Returning(function))
    x = torch.randn(3, 2)
    with torch.no_grad():
        expected = native(x)
        for _ in range(2):
            actual = remote(x.to(DEVICE))
            _assert_planned()
            assert type(actual) is type(expected)
            host = _to_host(actual)
            torch.testing.assert_close(host, expected, rtol=0, atol=0)


def _to_host(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return type(value)((name, _to_host(item)) for name, item in value.items())
    if isinstance(value, tuple | list):
        items = [_to_host(item) for item in value]
        return value._make(items) if hasattr(value, "_make") else type(value)(items)
    return value


def test_what_is_returned_as_it_came_is_the_same_object() -> None:
    """Arguments and weights among the results."""
    _, remote = _pair(Returning(lambda x, w: (x, w, x + 1)))
    x = torch.randn(2).to(DEVICE)
    with torch.no_grad():
        for _ in range(2):
            first, second, _ = remote(x)
            assert first is x
            assert second is remote.weight


def test_one_tensor_passed_twice_is_one_tensor() -> None:
    """A call may ask `a is b`, and may write to one of them."""
    native, remote = _pair(Returning(lambda a, b, w: a.add_(w) * 2 + b if a is b else a - b))
    with torch.no_grad():
        for _ in range(2):
            x, y = torch.randn(2), torch.randn(2)
            xd, yd = x.to(DEVICE), y.to(DEVICE)
            assert torch.equal(remote(xd, yd).cpu(), native(x, y))
            assert torch.equal(remote(xd, xd).cpu(), native(x, x))
            assert torch.equal(xd.cpu(), x)


def test_zeros_of_either_sign_are_different_arguments() -> None:
    """0.0 == -0.0, and dividing by them differs."""
    native, remote = _pair(Returning(lambda x, zero, w: x * w / zero))
    x = torch.ones(2)
    with torch.no_grad():
        for zero in (0.0, -0.0, 0):
            assert torch.equal(remote(x.to(DEVICE), zero).cpu(), native(x, zero))
            _assert_planned(hit=False)


def test_scalars_from_the_host_are_read_at_each_call() -> None:
    """As on every device, a 0-dim host tensor may be an operand; its value is no part of the plan."""
    native, remote = _pair(Returning(lambda x, scale, w: x * scale + w))
    x, scale = torch.randn(2), torch.tensor(2.0)
    with torch.no_grad():
        for expected_hit in (False, True):
            assert torch.equal(remote(x.to(DEVICE), scale).cpu(), native(x, scale))
            _assert_planned(hit=expected_hit)
            scale.add_(1)


def test_a_branch_on_data_is_planned_and_guarded() -> None:
    """Each branch gives its own result, however often the data change."""
    native, remote = _pair(Returning(lambda x, w: x + w if x.sum() > 0 else x - w))
    x = torch.ones(2)
    with torch.no_grad():
        for sign in (1, 1, -1, -1, 1):
            assert torch.equal(remote((x * sign).to(DEVICE)).cpu(), native(x * sign))
            _assert_planned()
        for sign in (-1, 1) * 4:
            assert torch.equal(remote((x * sign).to(DEVICE)).cpu(), native(x * sign))
    assert "the call's path depends on data that keep changing" in djinn.stats()["fallbacks"]


def test_a_guard_that_fails_has_changed_nothing() -> None:
    """The call that is planned again begins from the state that it was called in."""

    def write_after_branch(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        step = 1 if x.sum() > 0 else -1
        return w.add_(step) + x

    native, remote = _pair(Returning(write_after_branch))
    with torch.no_grad():
        for sign in (1, -1, -1, 1):
            x = torch.full((2,), float(sign))
            assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))
    assert torch.equal(remote.weight.cpu(), native.weight)


class WithConstants(nn.Module):
    """Uses host tensors in the ways that every device allows."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.scale = torch.tensor(2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Index by a literal list, multiply by a host scalar."""
        return self.linear(x)[:, [2, 0]] * self.scale + torch.tensor(1.0)


def test_literals_and_host_scalars_are_part_of_a_plan() -> None:
    """Until somebody changes them."""
    native, remote = _pair(WithConstants())
    x = torch.randn(2, 4)
    with torch.no_grad():
        for expected_hit in (False, True):
            assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))
            _assert_planned(hit=expected_hit)
        native.scale.fill_(5.0)
        remote.scale.fill_(5.0)
        assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))
        _assert_planned(hit=False)


def test_an_error_is_the_one_that_the_call_raises() -> None:
    """A simulation that fails is no failure of the call; running it singly tells."""
    native, remote = _pair(nn.Linear(4, 4))
    with torch.no_grad():
        with pytest.raises(RuntimeError) as expected:
            native(torch.ones(2, 3))
        for _ in range(2):
            with pytest.raises(RuntimeError) as actual:
                remote(torch.ones(2, 3).to(DEVICE))
            assert str(actual.value) == str(expected.value)


@pytest.mark.parametrize(
    "value", [object(), iter(()), {1, 2}, lambda: 1], ids=["opaque", "iterator", "set", "function"]
)
def test_values_that_cannot_be_described_run_singly(value: Any) -> None:
    """No plan may depend on what its key does not say."""
    native, remote = _pair(Returning(lambda x, value, w: x + w))
    x = torch.randn(2)
    with torch.no_grad():
        assert torch.equal(remote(x.to(DEVICE), value).cpu(), native(x, value))
    timestamps = djinn.last_call()
    assert timestamps is not None
    assert not timestamps.planned


class _Keeping(nn.Module):
    """Keeps containers that its callers have, too."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.state = {"step": 0}
        self.history: list[float] = []
        self.plain = Plain(2.0)

    def forward(self, x: torch.Tensor, history: list[float] | None = None, plain: Any = None) -> Any:
        """Return what is kept, or depend on it."""
        if history is not None:
            history.append(1.0)
            return x * self.weight * len(self.history)
        if plain is not None:
            return x * (2.0 if plain is self.plain else 3.0)
        return x * self.weight * (1 + self.state["step"]), self.state, self.plain


def test_containers_that_the_module_keeps_too_are_one() -> None:
    """Whether the caller got them from it, or passes them."""

    def results(device: str) -> list[Any]:
        module, x, found = _Keeping().to(device), torch.ones(2).to(device), []
        with torch.no_grad():
            for _ in range(3):
                y, state, plain = module(x)
                state["step"] += 1
                found += [y.tolist(), plain is module.plain]
            found += [module(x, []).tolist() for _ in range(2)]
            found += [module(x, module.history).tolist() for _ in range(3)]
            return found + [module(x, plain=plain).tolist() for plain in (Plain(2.0), module.plain, Plain(2.0))]

    assert results("cpu") == results(DEVICE)


class _Absent:
    """Stands for an argument that is not there."""


_ABSENT = _Absent()


class _Defaulting(nn.Module):
    def forward(self, x: torch.Tensor, scale: Any = _ABSENT) -> Any:
        """Scale unless told not to."""
        return x if scale is _ABSENT else x * 3


def test_a_default_is_itself_when_it_is_passed() -> None:
    """Another object of its class is another one."""
    module, x = _Defaulting().to(DEVICE), torch.ones(2).to(DEVICE)
    module.register_buffer("some", torch.ones(1, device=DEVICE))
    with torch.no_grad():
        assert [module(x, *more).tolist() for more in ((), (_Absent(),), (_ABSENT,), (_Absent(),))] == [
            [1.0, 1.0],
            [3.0, 3.0],
            [1.0, 1.0],
            [3.0, 3.0],
        ]


class _Attached(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        """Read an attribute, and attach one."""
        y = x * getattr(x, "scale", 1.0)
        y.number = 3
        return y


def test_attributes_of_tensors_come_and_go_with_calls() -> None:
    """Each call sees those of its own argument."""
    module = _Attached().to(DEVICE)
    module.register_buffer("some", torch.ones(1, device=DEVICE))
    with torch.no_grad():
        for scale in (None, 2.0, 3.0, None):
            x = torch.ones(2, device=DEVICE)
            if scale is not None:
                x.scale = scale
            y = module(x)
            assert (y.tolist(), y.number) == ([scale or 1.0] * 2, 3)
