"""Small inputs go along with the first call that uses them, and become tensors on the server only where that is not enough."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import djinn
from djinn.protocol import messages as m
from support import DEVICE, run_by_turns

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    djinn.plan_cache.clear()
    with torch.no_grad():
        yield


class _Applied(nn.Module):
    """Applies a function to its inputs, and has a weight so that it lies on the device."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), 2.0))
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Apply."""
        return self.function(self.weight, *inputs)


def _on_device(function: Callable[..., Any]) -> _Applied:
    return _Applied(function).to(DEVICE).eval()


def _num_tensors() -> int:
    torch.ones(1, device=DEVICE).item()  # with which goes what was freed before
    num_tensors: int = djinn.stats()["client"]["num_tensors"]
    return num_tensors


def _numbers(start: float) -> torch.Tensor:
    return torch.arange(3.0) + start


def test_an_input_that_is_used_once_never_becomes_a_tensor() -> None:
    """A loop that makes an input for each call leaves nothing on the server, and frees nothing there."""
    module = _on_device(lambda weight, value: weight * value)
    fallbacks = djinn.stats()["fallbacks"]
    results = [module(_numbers(0).to(DEVICE)).tolist()]
    before = _num_tensors()
    inputs = [_numbers(start).to(DEVICE) for start in range(1, 20)]
    results += [module(value).tolist() for value in inputs]
    assert results == [(2 * _numbers(start)).tolist() for start in range(20)]
    assert _num_tensors() == before
    assert all(value.handle.pending is not None for value in inputs)  # type: ignore[attr-defined]
    assert djinn.stats()["fallbacks"] == fallbacks


def test_an_input_that_is_used_again_becomes_one() -> None:
    """From the second call on the server has it, and another call's input in between changes nothing."""
    module = _on_device(lambda weight, value: weight * value)
    kept, other = _numbers(5).to(DEVICE), _numbers(7).to(DEVICE)
    module(kept)
    before = _num_tensors()
    for _ in range(3):
        assert module(kept).tolist() == [10, 12, 14]
        assert module(_numbers(7).to(DEVICE)).tolist() == [14, 16, 18]
    assert _num_tensors() == before + 1
    assert module(other).tolist() == [14, 16, 18]
    assert (kept.tolist(), other.tolist()) == ([5, 6, 7], [7, 8, 9])


def test_what_the_host_tensor_holds_later_does_not_matter() -> None:
    """Elements are those of the upload."""
    module = _on_device(lambda weight, value: weight * value)
    host = _numbers(1)
    value = host.to(DEVICE)
    host.zero_()
    assert module(value).tolist() == [2, 4, 6]
    assert module(value).tolist() == [2, 4, 6]


def test_an_input_that_is_written_keeps_what_was_written() -> None:
    """It lies on the server from the first call on."""
    module = _on_device(lambda weight, value: value.add_(weight).sum())
    for _ in range(3):
        value = _numbers(0).to(DEVICE)
        assert module(value).item() == 9
        assert module(value).item() == 15
        assert value.tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    "function",
    [
        lambda weight, value: value,
        lambda weight, value: value[1:],
        lambda weight, value: (weight * value, value.view(1, 3)),
        lambda weight, value: {"same": value, "other": weight + value},
    ],
    ids=["itself", "a part", "beside another", "in a dictionary"],
)
def test_results_that_view_an_input_stay_when_others_are_passed(function: Callable[..., Any]) -> None:
    """And share its elements, as they do on the CPU."""

    def read(result: Any) -> Any:
        parts = result.values() if isinstance(result, dict) else result if isinstance(result, tuple) else [result]
        return [part.tolist() for part in parts]

    remote, native = _on_device(function), _Applied(function)
    inputs = [_numbers(start).to(DEVICE) for start in range(4)]
    hosts = [_numbers(start) for start in range(4)]
    results, expected = [remote(value) for value in inputs], [native(value) for value in hosts]
    for value, host in zip(inputs, hosts, strict=True):
        value.mul_(3)
        host.mul_(3)
    assert [read(result) for result in results] == [read(result) for result in expected]


def test_inputs_in_any_order_and_kind() -> None:
    """Passed ones, ones that the server has, empty ones and the same one twice, between each other."""
    function = lambda weight, *values: torch.cat([weight, *values])  # noqa: E731
    remote, native = _on_device(function), _Applied(function)
    resident = _numbers(20).to(DEVICE) + 0
    for start in range(3):
        first, empty, last = _numbers(start), torch.zeros(0), _numbers(start + 10)
        sent = [tensor.to(DEVICE) for tensor in (first, empty, last)]
        result = remote(sent[0], resident, sent[1], sent[0], sent[2])
        assert result.tolist() == native(first, _numbers(20), empty, first, last).tolist()


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.bfloat16, torch.complex64])
def test_elements_of_every_dtype_arrive(dtype: torch.dtype) -> None:
    """Bit for bit."""
    module = _on_device(lambda weight, value: value.clone())
    for start in range(3):
        host = _numbers(start).to(dtype)
        assert torch.equal(module(host.to(DEVICE)).cpu(), host)


def test_a_session_holds_nothing_of_what_is_passed() -> None:
    """A token takes no room in the arena, which is the cache's."""
    module = _on_device(lambda weight, value: weight * value)
    module(_numbers(0).to(DEVICE)).cpu()
    with djinn.session(arena_mb=1):
        values = [_numbers(start).to(DEVICE) for start in range(5)]
        assert [module(value).tolist() for value in values] == [(2 * _numbers(start)).tolist() for start in range(5)]
        assert djinn.stats()["memory"]["data"]["used_bytes"] == 0
        module(values[0])
        assert djinn.stats()["memory"]["data"]["used_bytes"] > 0


def test_a_session_that_ended_refuses_what_was_made_inside() -> None:
    """Whether the call has a plan or not, and whatever session it is made in."""
    module = _on_device(lambda weight, value: weight * value)
    module(_numbers(0).to(DEVICE))
    with djinn.session(arena_mb=1):
        value, other = _numbers(1).to(DEVICE), _numbers(2).to(DEVICE)
    for call in (lambda: module(value), lambda: value + 1):
        with pytest.raises(djinn.SessionClosedError, match="not open"):
            call()
    with djinn.session(arena_mb=1), pytest.raises(djinn.SessionClosedError, match="not open"):
        module(other)


def test_elements_that_are_replaced_after_a_failed_operation_are_the_new_ones() -> None:
    """The server made the tensor for that operation, though nothing came of it."""
    module = _on_device(lambda weight, value: weight * value)
    value = _numbers(0).to(DEVICE)
    module(value)
    with pytest.raises(RuntimeError):
        torch.matmul(value, torch.ones(5, device=DEVICE))
    value.copy_(torch.full((3,), 50.0))
    assert value.tolist() == [50, 50, 50]
    assert module(value).tolist() == [100, 100, 100]


def test_elements_that_are_replaced_between_calls_are_the_new_ones() -> None:
    """Before anything else is sent, after one call and after two."""
    module = _on_device(lambda weight, value: weight * value)
    for num_calls in range(3):
        value = _numbers(0).to(DEVICE)
        for _ in range(num_calls):
            assert module(value).tolist() == [0, 2, 4]
        value.copy_(torch.full((3,), 50.0))
        assert module(value).tolist() == [100, 100, 100]
        assert value.tolist() == [50, 50, 50]


@pytest.mark.parametrize("num_calls", [0, 1, 2])
def test_what_a_forked_process_made_of_a_tensor_is_written_to(num_calls: int) -> None:
    """Both processes have the tensor, which one of them made on the server without the other's knowing."""
    module = _on_device(lambda weight, value: weight * value)
    value = _numbers(0).to(DEVICE)
    for _ in range(num_calls):
        module(value)
    child = os.fork()
    if child == 0:
        os._exit(0 if [module(value).tolist() for _ in range(2)] == [[0, 2, 4]] * 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    value.copy_(torch.full((3,), 50.0))
    assert [module(value).tolist() for _ in range(2)] == [[100, 100, 100]] * 2
    assert value.tolist() == [50, 50, 50]


def test_a_deep_tuple_is_taken_apart() -> None:
    """One frame a level, as before anything was passed."""

    def innermost(weight: torch.Tensor, value: Any) -> torch.Tensor:
        while isinstance(value, tuple):
            (value,) = value
        return weight * value

    module, nested = _on_device(innermost), _numbers(1).to(DEVICE)
    for _ in range(400):
        nested = (nested,)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(650)
    try:
        assert module(nested).tolist() == [2, 4, 6]
    finally:
        sys.setrecursionlimit(limit)


def test_threads_that_call_one_plan_get_their_own_elements() -> None:
    """The plan has one place for an input, where one call at a time writes."""
    module = _on_device(lambda weight, value: weight * value)
    module(_numbers(0).to(DEVICE))
    wrong: list[Any] = []

    def work(number: int) -> None:
        with torch.no_grad():
            for start in range(number * 100, number * 100 + 20):
                result = module(_numbers(start).to(DEVICE)).tolist()
                if result != (2 * _numbers(start)).tolist():
                    wrong.append((start, result))

    run_by_turns(4, work)
    assert not wrong


def test_a_call_that_is_planned_anew_has_its_input_again() -> None:
    """The first request came to nothing, as the server had dropped the plan."""
    module = _on_device(lambda weight, value: weight * value)
    module(_numbers(0).to(DEVICE))
    (plan,) = djinn.plan_cache.entries()
    plan.client.request(m.DropPlans(plan_ids=[plan.plan_id]))
    assert module(_numbers(4).to(DEVICE)).tolist() == [8, 10, 12]


def test_a_tensor_from_before_the_shutdown_is_refused() -> None:
    """Its elements are here still, but it belongs to a server that is gone."""
    module = _on_device(lambda weight, value: weight * value)
    old = _numbers(0).to(DEVICE)
    module(_numbers(1).to(DEVICE))
    djinn.shutdown()
    djinn.init()
    module = _on_device(lambda weight, value: weight * value)
    module(_numbers(1).to(DEVICE))
    with pytest.raises(djinn.ConnectionFailedError, match="from before djinn.shutdown"):
        module(old)
