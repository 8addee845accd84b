"""A planned forward sees what it would see operation by operation: devices, parameters, the host's tensors, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import djinn
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")


class Calling(nn.Module):
    """Runs a function as its forward."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(1.0, 5.0))
        self.function = function

    def forward(self, *args: Any) -> Any:
        """Run it."""
        return self.function(self, *args)


def _call(function: Any, *args: Any, times: int = 2) -> Any:
    module = Calling(function).to(DEVICE)
    with torch.no_grad():
        results = [module(*args) for _ in range(times)]
    return results[-1]


X = torch.ones(4)


def test_tensors_say_that_they_are_on_the_device() -> None:
    """And parameters that they are parameters."""
    x = X.to(DEVICE)
    assert _call(lambda module, x: (x.device, x.is_cpu, x.new_zeros(1).device), x) == (x.device, False, x.device)
    assert djinn.last_call().cache_hit
    assert _call(lambda module, x: isinstance(module.weight, nn.Parameter) and not isinstance(x, nn.Parameter), x)


def test_copies_to_the_host_lie_there() -> None:
    """As do tensors that forward makes there, and what NumPy makes of them."""
    x = X.to(DEVICE)
    copied = _call(lambda module, x: (x * module.weight).cpu(), x)
    assert copied.device.type == "cpu"
    assert copied.tolist() == [1, 2, 3, 4]
    assert _call(lambda module, x: torch.zeros(3), x).device.type == "cpu"
    assert _call(lambda module, x: (x * module.weight).cpu().numpy().sum().item(), x) == 10


@pytest.mark.parametrize(
    "function",
    [
        lambda module, x: x * module.weight + torch.ones(4),
        lambda module, x: torch.stack([x[0], torch.tensor(1.0)]),
        lambda module, x: torch.zeros(4).add_(x),
        lambda module, x: torch.tensor(0.0).add_(x.sum()),
    ],
)
def test_mixing_devices_is_an_error(function: Any) -> None:
    """The one that single operations raise."""
    with pytest.raises(djinn.DeviceMismatchError):
        _call(function, X.to(DEVICE))


def test_tensors_that_forward_makes_on_the_host_may_be_moved() -> None:
    """They are constants of the plan, with the elements that they had when they were moved."""

    def function(module: Any, x: torch.Tensor) -> torch.Tensor:
        host = torch.arange(4.0)
        first = x + host.to(x.device)
        host.add_(10)
        return first * host.to(x.device) + torch.tensor([1.0, 2.0, 3.0, 4.0], device=x.device) * torch.tensor(2.0)

    assert torch.equal(_call(function, X.to(DEVICE)).cpu(), function(None, X))
    assert djinn.last_call().cache_hit


def test_assigned_data_is_not_lost() -> None:
    """Of an argument and of a weight."""
    x = X.to(DEVICE)
    assert _call(lambda module, x: (setattr(x, "data", x + 1), x * 2)[1], x, times=2).tolist() == [6.0] * 4
    assert x.tolist() == [3.0] * 4

    def shifts(module: Any, x: torch.Tensor) -> torch.Tensor:
        module.weight.data = module.weight + 1
        return module.weight * 1

    assert _call(shifts, x, times=2).tolist() == [3, 4, 5, 6]


def test_a_weight_among_the_arguments_is_itself() -> None:
    """Also after a call with another tensor of the same shape."""
    module = Calling(lambda module, x: x is module.weight).to(DEVICE)
    with torch.no_grad():
        for given in (X.to(DEVICE), module.weight, X.to(DEVICE).requires_grad_()):
            assert module(given) is (given is module.weight)


def test_attention_without_weights_returns_none_for_them() -> None:
    """torch's rule for shapes says an empty tensor."""
    torch.manual_seed(0)
    native = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        expected, _ = native(x, x, x, need_weights=False)
        remote, given = native.to(DEVICE), x.to(DEVICE)
        for _ in range(2):
            actual, weights = remote(given, given, given, need_weights=False)
            assert weights is None
            assert torch.equal(actual.cpu(), expected)
    assert djinn.last_call().cache_hit
