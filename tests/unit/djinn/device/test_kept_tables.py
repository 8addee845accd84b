"""Tables that forward keeps outside of its module, in a cache: what a simulation left there serves every later call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import djinn
from djinn.errors import PlanError
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")

_kept: dict[Any, Any] = {}


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    _kept.clear()
    _frequencies.cache_clear()


@functools.lru_cache
def _frequencies(num: int, device: torch.device) -> torch.Tensor:
    return torch.arange(num, device=device, dtype=torch.float32) * 0.5


def _once(name: Any, make: Callable[[], Any]) -> Any:
    if name not in _kept:
        _kept[name] = make()
    return _kept[name]


def _adds_a_table(y: torch.Tensor) -> Any:
    return y + _frequencies(4, y.device)


def _slices_a_table(y: torch.Tensor) -> Any:
    return y * _frequencies(16, y.device)[3:7]


def _writes_to_a_mask(y: torch.Tensor) -> Any:
    return y @ _once(y.device, lambda: torch.full((4, 4), -2.0, device=y.device).triu_(1))


def _keeps_a_view(y: torch.Tensor) -> Any:
    def make() -> tuple[torch.Tensor, torch.Tensor]:
        table = torch.zeros(4, device=y.device)
        view, before = table[1:3], table + 1
        table.add_(2)
        return view, before

    view, before = _once(y.device, make)
    return y + view.sum() + before


def _keeps_a_literal(y: torch.Tensor) -> Any:
    return y * _once(y.device, lambda: torch.tensor([1.0, 2.0, 3.0, 4.0], device=y.device))


class _Module(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        """Run the function on hidden elements."""
        return self.function(self.linear(x))


def _pair(function: Callable[[torch.Tensor], Any]) -> tuple[nn.Module, nn.Module]:
    native, remote = _Module(function), _Module(function)
    remote.load_state_dict(native.state_dict())
    return native, remote.to(DEVICE)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    "function", [_adds_a_table, _slices_a_table, _writes_to_a_mask, _keeps_a_view, _keeps_a_literal]
)
def test_calls_of_other_shapes_use_the_table_in_plans_of_their_own(function: Any, mode: Any) -> None:
    """It was made while the first shape was simulated, and is computed again in the others' simulations."""
    native, remote = _pair(function)
    num_before = sum(djinn.stats()["fallbacks"].values())
    with mode():
        for num_rows in (2, 3, 4, 2):
            x = torch.randn(num_rows, 4)
            assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))
    assert sum(djinn.stats()["fallbacks"].values()) == num_before


@pytest.mark.parametrize("function", [_adds_a_table, _keeps_a_view, _keeps_a_literal])
def test_calls_without_a_plan_use_the_table(function: Any) -> None:
    """Which has elements on the device then, once and for all."""
    native, remote = _pair(function)
    x = torch.randn(2, 4)
    with torch.no_grad():
        remote(x.to(DEVICE))
    assert torch.equal(remote(x.to(DEVICE)).detach().cpu(), native(x))


def test_a_table_is_a_tensor_outside_of_forward() -> None:
    """Its owner may look at it, and compute with it."""
    _, remote = _pair(_adds_a_table)
    with torch.no_grad():
        remote(torch.ones(1, 4, device=DEVICE))
    table = _frequencies(4, torch.device(DEVICE))
    assert table.tolist() == table.cpu().tolist() == table.numpy(force=True).tolist() == [0.0, 0.5, 1.0, 1.5]
    assert (torch.ones(4, device=DEVICE) + table).tolist() == (table + 1).tolist() == [1.0, 1.5, 2.0, 2.5]
    assert repr(table) == f"tensor([0.0000, 0.5000, 1.0000, 1.5000], device='{DEVICE}')"


def test_what_was_written_to_outside_is_not_planned_from_its_beginnings() -> None:
    """A plan would compute the table as it was."""
    _, remote = _pair(_adds_a_table)
    x = torch.ones(2, 4, device=DEVICE)
    with torch.no_grad():
        remote(x[:1].clone())
        _frequencies(4, torch.device(DEVICE)).add_(1)
        expected = remote.linear(x) + torch.tensor([1.0, 1.5, 2.0, 2.5]).to(DEVICE)
        assert torch.equal(remote(x).cpu(), expected.cpu())


@pytest.mark.parametrize("make", [lambda y: y.sum(), lambda y: torch.rand(4, device=y.device)])
def test_what_other_calls_would_compute_otherwise_has_no_elements(make: Any) -> None:
    """The first call's are gone, if there ever were any; nothing else is used in their place."""
    _, remote = _pair(lambda y: y + _once("made", lambda: make(y)))
    with torch.no_grad():
        remote(torch.ones(1, 4, device=DEVICE))
        with pytest.raises(PlanError, match="has no elements"):
            remote(torch.ones(2, 4, device=DEVICE))
