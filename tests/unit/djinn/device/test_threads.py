"""Threads that use a module while one of them simulates it: they see the module, and the simulation sees only itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

import djinn
from djinn.device import turns
from djinn.device.mutations import is_simulating
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")

_PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def _fresh_cache() -> None:
    djinn.plan_cache.clear()


def test_threads_may_move_one_module_at_once() -> None:
    """There and back, until they agree where it is; torch alone would wait for itself."""
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))

    def move(place: str) -> None:
        for _ in range(10):
            module.to(place)

    with ThreadPoolExecutor(2) as pool:
        moves = [pool.submit(move, place) for place in (DEVICE, "cpu")]
        for moved in moves:
            moved.result(timeout=_PATIENCE_S)
    module.to(DEVICE)
    with torch.no_grad():
        assert module(torch.ones(1, 4).to(DEVICE)).cpu().shape == (1, 4)


class _Pausing(nn.Module):
    """Stands still in the middle of its first simulation, between the use of two weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Apply both."""
        hidden = self.first(value)
        if is_simulating() and not _Pause.begun.is_set():
            _Pause.begun.set()
            assert _Pause.ended.wait(_PATIENCE_S)
        return self.second(hidden)


class _Pause:
    begun, ended = threading.Event(), threading.Event()


@contextmanager
def _while_it_is_simulated(module: nn.Module, value: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Within this scope another thread simulates a call of the module; afterwards its result is in the list."""
    _Pause.begun, _Pause.ended = threading.Event(), threading.Event()
    results: list[torch.Tensor] = []

    def call() -> None:
        with torch.no_grad():
            results.append(module(value).cpu())

    thread = threading.Thread(target=call)
    thread.start()
    try:
        assert _Pause.begun.wait(_PATIENCE_S)
        yield results
    finally:
        _Pause.ended.set()
        thread.join()


@pytest.mark.parametrize(
    "use",
    [
        lambda module: module.first.weight.cpu(),
        lambda module: module.state_dict()["second.bias"].cpu(),
        lambda module: module(torch.ones(3, 4, device=module.first.weight.device)).cpu(),
        lambda module: (module.first.weight @ module.second.weight).sum().cpu(),
    ],
    ids=["a weight", "the state", "an unplanned call", "operations on weights"],
)
def test_a_module_is_itself_for_other_threads(use: Callable[[nn.Module], torch.Tensor]) -> None:
    """Its weights are the tensors that they were, and its unplanned calls compute with them."""
    native = _Pausing()
    module = _Pausing().to(DEVICE)
    module.load_state_dict(native.state_dict())
    value = torch.ones(2, 4)
    with _while_it_is_simulated(module, value.to(DEVICE)) as results:
        assert torch.equal(use(module).detach(), use(native).detach())
    with torch.no_grad():
        assert torch.equal(results[0], native(value))
    assert len(djinn.plan_cache) == 1


def test_random_numbers_of_other_threads_are_their_own() -> None:
    """They are neither taken for those of the simulated forward nor drawn a second time."""
    module = _Pausing().to(DEVICE)
    torch.manual_seed(5)
    expected = torch.randn(4)
    torch.manual_seed(5)
    with _while_it_is_simulated(module, torch.ones(2, 4, device=DEVICE)):
        drawn = torch.randn(2)
    assert torch.equal(torch.cat([drawn, torch.randn(2)]), expected)
    assert len(djinn.plan_cache) == 1


def test_a_module_that_changed_before_it_was_planned_gets_no_plan_for_what_it_was() -> None:
    """Its call waited for the simulation of another thread."""
    module, value, results = nn.Linear(4, 4).to(DEVICE), torch.ones(1, 4, device=DEVICE), []
    weight, misses = module.weight, djinn.plan_cache.misses

    def call() -> None:
        with torch.no_grad():
            results.append(module(value).tolist())

    thread = threading.Thread(target=call)
    with turns._simulation_lock:
        thread.start()
        while djinn.plan_cache.misses == misses:
            threading.Event().wait(0.001)
        module.weight = nn.Parameter(torch.zeros(4, 4, device=DEVICE))
    thread.join()
    assert results == [[module.bias.tolist()]]
    module.weight = weight
    with torch.no_grad():
        assert torch.equal(module(value).cpu(), nn.functional.linear(value, weight, module.bias).cpu())


class _Constant(nn.Module):
    """Computes with its own tensors alone, so that nothing but its turn keeps it from being planned."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.ones(4))

    def forward(self, _: torch.Tensor | None = None) -> torch.Tensor:
        """Return another tensor."""
        result: torch.Tensor = self.value + 1  # type: ignore[operator]
        return result


class _Waiting(nn.Module):
    """Calls its parts in threads of their own."""

    def __init__(self, part: Callable[[], nn.Module], *, passes_value: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleList(part() for _ in range(2))
        self.passes_value = passes_value

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Add up what they return."""

        def call(part: nn.Module) -> torch.Tensor:
            with torch.no_grad():
                result: torch.Tensor = part(value if self.passes_value else None)
            return result

        with ThreadPoolExecutor(len(self.parts)) as pool:
            return value + sum(pool.map(call, self.parts))


@pytest.mark.parametrize(("part", "passes_value"), [(lambda: nn.Linear(4, 4), True), (_Constant, False)])
def test_a_forward_that_waits_for_threads_ends(part: Any, passes_value: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if they wait for the simulation that it is part of; it runs operation by operation then."""
    monkeypatch.setattr(turns, "_MAX_WAIT_S", 0.05)
    native = _Waiting(part, passes_value=passes_value)
    module = _Waiting(part, passes_value=passes_value).to(DEVICE)
    module.load_state_dict(native.state_dict())
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(module(torch.ones(2, 4, device=DEVICE)).cpu(), native(torch.ones(2, 4)))
