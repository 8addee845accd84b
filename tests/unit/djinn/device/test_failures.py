"""Operations that fail in mid-call: whoever may catch that natively catches it here, and nothing fails unnoticed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import djinn
from djinn.tracing.recorder import Recorder
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")


class _Module(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 2)
        self.function = function

    def forward(self, *args: Any) -> Any:
        """Run the function."""
        return self.function(self, *args)


def _outcome(module: nn.Module, *args: Any) -> Any:
    try:
        with torch.no_grad():
            return module(*args).tolist()
    except (RuntimeError, IndexError) as error:
        return type(error).__name__


@pytest.mark.parametrize(
    "check",
    [
        torch.linalg.cholesky,
        torch.linalg.inv,
        lambda a: torch.linalg.solve(a, a),
        torch.linalg.lu_factor,
        lambda a: (torch._assert_async(a.sum() > 0), a)[1],
    ],
)
def test_checks_of_operands_are_part_of_a_plan(check: Callable[..., Any]) -> None:
    """They return nothing and write nothing, and still have to run: at the call that is simulated and at the next."""

    def function(_: Any, a: torch.Tensor) -> Any:
        found = check(a * 2)
        return found[0] if isinstance(found, tuple) else found

    good, bad = torch.eye(2) * 3, torch.zeros(2, 2)
    for operands in ([bad, bad], [good, bad, good, bad]):
        native, remote = _Module(function), _Module(function).to(DEVICE)
        assert [_outcome(remote, a.to(DEVICE)) for a in operands] == [_outcome(native, a) for a in operands]


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
@pytest.mark.parametrize("reduce", [torch.max, torch.min])
def test_the_largest_of_no_elements_is_an_error(reduce: Callable[..., Any], dtype: torch.dtype) -> None:
    """In a plan as well, whose operators write into given tensors."""
    module = _Module(lambda _, x: reduce(x)).to(DEVICE)
    for num_rows in (0, 2, 0):
        outcome = _outcome(module, torch.zeros(num_rows, 3, dtype=dtype).to(DEVICE))
        assert outcome == (0 if num_rows else "RuntimeError")


def test_forward_catches_what_fails_in_its_plan() -> None:
    """As it does when it runs, also with what it did to its arguments until then."""

    def function(module: Any, places: torch.Tensor, seen: list[int]) -> Any:
        seen.append(len(seen))
        try:
            return module.table(places)
        except IndexError:
            return torch.zeros(2, 2, device=places.device)

    native, remote = _Module(function), _Module(function)
    remote.load_state_dict(native.state_dict())
    remote.to(DEVICE)
    for places in ([0, 1], [2, 9], [3, 1]):
        seen: tuple[list[int], list[int]] = ([], [])
        expected = _outcome(native, torch.tensor(places), seen[0])
        assert _outcome(remote, torch.tensor(places).to(DEVICE), seen[1]) == expected
        assert seen[0] == seen[1] == [0]


def test_what_was_written_before_a_failure_is_written_once() -> None:
    """Such a call is not run again, as its plan has counted already."""

    def function(module: Any, count: torch.Tensor, places: torch.Tensor) -> Any:
        count.add_(1)
        return module.table(places)

    native, remote = _Module(function), _Module(function).to(DEVICE)
    outcomes = []
    for module, device in ((native, "cpu"), (remote, DEVICE)):
        count, places = torch.zeros(1).to(device), torch.tensor([0, 1]).to(device)
        _outcome(module, count, places)
        outcomes.append((_outcome(module, count, torch.tensor([7, 7]).to(device)), count.tolist()))
    assert outcomes[0] == outcomes[1] == ("IndexError", [2.0])


class _LateError(Exception):
    """A timeout."""


# A global: what a module keeps is put back after its simulation.
_interrupted: list[bool] = []


def _raise_late(*_: Any) -> None:
    raise _LateError


def test_a_timeout_ends_the_call_that_it_interrupts() -> None:
    """It is no failure of the simulation, after which the call would run operation by operation."""
    before = signal.signal(signal.SIGALRM, _raise_late)
    try:

        def function(_: Any, x: torch.Tensor) -> Any:
            if not _interrupted:
                _interrupted.append(True)
                signal.raise_signal(signal.SIGALRM)
            return x * 2

        remote = _Module(function).to(DEVICE)
        with torch.no_grad():
            with pytest.raises(_LateError):
                remote(torch.ones(2, device=DEVICE))
            assert remote(torch.ones(2, device=DEVICE)).tolist() == [2.0, 2.0]
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("place", ["__enter__", "__exit__"])
def test_an_interrupt_beside_a_simulation_leaves_nothing_behind(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come when the simulation has begun and nobody has noted that, or before it ends."""
    original = getattr(Recorder, place)

    def interrupted(self: Any, *args: Any) -> Any:
        if place == "__enter__":
            original(self, *args)
        raise KeyboardInterrupt

    remote = _Module(lambda _, x: x * 2).to(DEVICE)
    x = torch.ones(2, device=DEVICE)
    with torch.no_grad():
        with monkeypatch.context() as patched:
            patched.setattr(Recorder, place, interrupted)
            with pytest.raises(KeyboardInterrupt):
                remote(x)
        assert (x + 1).cpu().tolist() == [2.0, 2.0]
        assert remote(x).tolist() == [2.0, 2.0]
    assert djinn.stats()["plan_cache"]["entries"] >= 1
