"""What forward catches while it is simulated: it goes on as it would not if it ran, so that is never planned."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")

_ELSE = 100.0


class _Module(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(1))
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        """Run the function on hidden elements, and add what it returned."""
        hidden = self.linear(x)
        return hidden + self.function(self, hidden)


def _or_else(use: Callable[[nn.Module, torch.Tensor], Any]) -> Callable[[nn.Module, torch.Tensor], Any]:
    def caught(module: nn.Module, hidden: torch.Tensor) -> Any:
        try:
            return use(module, hidden)
        except Exception:
            return _ELSE

    caught.__name__ = use.__name__
    return caught


@_or_else
def _looks_after_a_draw(module: nn.Module, hidden: torch.Tensor) -> Any:
    return (torch.rand_like(hidden) * 0 + hidden).sum().item()


@_or_else
def _lists_elements(module: nn.Module, hidden: torch.Tensor) -> Any:
    return hidden.tolist()[0][0]


@_or_else
def _formats_an_element(module: nn.Module, hidden: torch.Tensor) -> Any:
    return float(f"{hidden.sum():.3f}")


@_or_else
def _makes_an_array(module: nn.Module, hidden: torch.Tensor) -> Any:
    return float(hidden.numpy(force=True).max())


@_or_else
def _goes_to_the_host(module: nn.Module, hidden: torch.Tensor) -> Any:
    return float(hidden.cpu().max())


@_or_else
def _counts(module: nn.Module, hidden: torch.Tensor) -> Any:
    return torch.nonzero(hidden > 0).shape[0]


@_or_else
def _deep_copies(module: nn.Module, hidden: torch.Tensor) -> Any:
    return copy.deepcopy(hidden)


@_or_else
def _assigns_data(module: nn.Module, hidden: torch.Tensor) -> Any:
    hidden.data = hidden.data * 3
    return hidden


@_or_else
def _assigns_a_buffer(module: Any, hidden: torch.Tensor) -> Any:
    module.count = module.count + 1
    return module.count


def _ends_a_scope(module: nn.Module, hidden: torch.Tensor) -> Any:
    found = _ELSE
    with contextlib.suppress(Exception):
        found = hidden.cpu().sum().item()
    return found


def _has_a_thread(module: Any, hidden: torch.Tensor) -> Any:
    results: list[Any] = []
    use = _or_else(lambda _, x: module.linear(x) * 2)
    with torch.no_grad():
        thread = threading.Thread(target=lambda: results.append(use(module, hidden)))
        thread.start()
        thread.join()
    return results[0].detach() if isinstance(results[0], torch.Tensor) else results[0]


def _has_a_pool(module: nn.Module, hidden: torch.Tensor) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return _or_else(lambda *_: pool.submit(lambda: hidden * 2).result())(module, hidden)


@pytest.mark.parametrize(
    "function",
    [
        _looks_after_a_draw,
        _lists_elements,
        _formats_an_element,
        _makes_an_array,
        _goes_to_the_host,
        _counts,
        _deep_copies,
        _assigns_data,
        _assigns_a_buffer,
        _ends_a_scope,
        _has_a_thread,
        _has_a_pool,
    ],
)
def test_forward_does_what_it_does_natively(function: Callable[..., Any]) -> None:
    """At the first call and at those that a plan would serve."""
    native = _Module(function)
    remote = copy.deepcopy(native).to(DEVICE)
    with torch.no_grad():
        for _ in range(3):
            x = torch.randn(2, 4)
            assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))


def test_a_look_that_failed_is_not_taken_for_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be busy with something else, or out of memory, for that moment alone."""
    from djinn.device import planner

    native = _Module(_or_else(lambda _, hidden: hidden.sum().item()))
    remote = copy.deepcopy(native).to(DEVICE)

    def fail(*_: Any) -> Any:
        raise MemoryError

    x = torch.randn(2, 4)
    with torch.no_grad():
        with monkeypatch.context() as patched:
            patched.setattr(planner._Simulation, "_look", fail)
            assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))
        assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))
