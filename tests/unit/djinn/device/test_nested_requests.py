"""Whoever runs in the middle of a request, a finalizer or a signal's handler, may use the device as well."""

from __future__ import annotations

import gc
import signal
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import djinn
from djinn.client import runtime as client_runtime
from djinn.client.connection import Connection
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")


class _Knot:
    """Garbage that only the collector finds; it notes what it computes as it goes."""

    def __init__(self, value: torch.Tensor, noted: list[Any]) -> None:
        self.itself = self
        self.value, self.noted = value, noted

    def __del__(self) -> None:
        with torch.no_grad():
            self.noted.append((self.value + 1).tolist())


class _Tripled(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.full((1,), 3.0))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value * self.factor


@pytest.fixture
def threshold(request: pytest.FixtureRequest) -> Iterator[None]:
    """The collector runs after so many new objects, in the middle of whatever is done then."""
    before = gc.get_threshold()
    gc.set_threshold(request.param, 1, 1)
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("threshold", [5, 7, 11, 16, 23, 31], indirect=True)
@pytest.mark.usefixtures("threshold")
@pytest.mark.parametrize("num_elements", [4, 40_000])
def test_finalizers_that_use_the_device_disturb_no_call(num_elements: int) -> None:
    """Planned calls, single operations and downloads alike; nor are connections left open."""
    module = _Tripled().to(DEVICE)
    noted: list[Any] = []
    one = torch.ones(1, device=DEVICE) + 0
    with torch.no_grad():
        for number in range(60):
            value = torch.full((num_elements,), float(number)).to(DEVICE)
            _Knot(one, noted)
            planned, single = module(value).cpu(), (value - 1).cpu()
            assert (planned == 3 * number).all()
            assert (single == number - 1).all()
    gc.collect()  # while what they use is nobody's garbage: that may go before they do
    assert len(noted) > 10
    assert all(result == [2.0] for result in noted)
    assert len(client_runtime.current_client()._connections) <= 2


def test_a_signals_handler_may_use_the_device() -> None:
    """Wherever it interrupts the main thread."""
    value = torch.arange(4.0).to(DEVICE) + 0
    module = torch.nn.ReLU().to(DEVICE)
    noted: list[Any] = []
    is_over = False

    def handle(*_: Any) -> None:
        noted.append((value * 2).tolist())
        # Not before: on a slow machine handlers would interrupt each other. Nor when this is over: nobody would handle it.
        signal.setitimer(signal.ITIMER_REAL, 0 if is_over else 0.0013)

    previous = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.002)
    try:
        with torch.no_grad():
            for _ in range(300):
                assert module(value).tolist() == [0.0, 1.0, 2.0, 3.0]
                assert (value + 1).tolist() == [1.0, 2.0, 3.0, 4.0]
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert noted
    assert all(result == [0.0, 2.0, 4.0, 6.0] for result in noted)


def _interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["receive", "send"])
def test_after_an_interrupted_call_the_next_one_takes_another_connection(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the first is closed: its reply, if one comes, is nobody's."""
    value = torch.ones(4, device=DEVICE) + 0
    client = client_runtime.current_client()
    before = weakref.ref(client.connection())
    with monkeypatch.context() as patch:
        patch.setattr(Connection, step, _interrupt)
        with pytest.raises(KeyboardInterrupt):
            value + 1
    if step == "send":  # which was over, as far as anybody knows
        client.connection().is_busy = True
    assert (value + 1).tolist() == [2.0] * 4
    gc.collect()
    assert before() is None
    assert list(client._connections) == [client.connection()]


def test_what_waits_to_be_freed_waits_on_where_a_request_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It went with that request, which may not have come anywhere."""
    tensor = torch.ones(4, device=DEVICE) + 0
    before = djinn.stats()["client"]["num_tensors"]
    del tensor
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "send", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            djinn.ping()
    assert djinn.stats()["client"]["num_tensors"] == before - 1
