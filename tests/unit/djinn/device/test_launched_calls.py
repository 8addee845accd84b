"""Calls whose reply comes while the device still computes: they return when it is done, with what it made."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter_ns

import pytest
import torch

import djinn
from djinn.client import connection, runtime
from djinn.device.prefetch import MAX_COPIED_BYTES
from djinn.server import core as server_core
from djinn.transport.mailbox import IS_SUPPORTED
from embedded import server_here
from late_device import LateDevice

pytestmark = pytest.mark.skipif(
    not IS_SUPPORTED, reason="needs an x86 processor, elsewhere messages keep to the socket"
)

_DEVICE = "remote_accelerator:0"
_POLLED_US = 30e6


class _Twice(torch.nn.Module):
    factor: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(2.0))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value * self.factor


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LateDevice]:
    """What the runtime's server, in this process, computes on; nothing is kept waiting by it yet.

    Both take turns at one interpreter, so the client polls for longer than it would beside a process.
    """
    for name in ("SPIN_US", "_SPARE_SPIN_US", "_SPARE_LATE_US", "_MAX_POLLED_US"):
        monkeypatch.setattr(connection, name, _POLLED_US)
    made = LateDevice()
    made.ends.set()
    monkeypatch.setattr(server_core, "make_compute", lambda _: made)
    with server_here(tmp_path) as address:
        djinn.init(address=address)
        yield made
        djinn.shutdown()


def test_a_call_returns_when_its_device_is_done(device: LateDevice) -> None:
    """Not with the reply; its times say so."""
    module, value = _Twice().to(_DEVICE), torch.arange(4.0).to(_DEVICE)
    returned: list[tuple[int, djinn.CallTimestamps | None]] = []

    def call() -> None:
        with torch.no_grad():
            module(value)
        returned.append((perf_counter_ns(), djinn.last_call()))

    call()
    device.ends.clear()
    device.launched.clear()
    calling = threading.Thread(target=call)
    calling.start()
    assert device.launched.wait(30)
    calling.join(0.1)
    assert calling.is_alive(), "a call returned before its device was done"
    ended_ns = perf_counter_ns()
    device.ends.set()
    calling.join(30)
    returned_ns, timestamps = returned[1]
    assert timestamps is not None
    assert timestamps.started_ns < ended_ns <= timestamps.finished_ns <= returned_ns


@pytest.mark.parametrize("num_elements", [4, MAX_COPIED_BYTES])
def test_results_that_come_along_are_whole(device: LateDevice, num_elements: int) -> None:
    """Those that the device brings to their place late, and small ones, which come with a reply that waits for them."""
    module, kept = _Twice().to(_DEVICE), []
    with torch.no_grad():
        for number in range(6):
            value = torch.full((num_elements,), float(number))
            before = device.num_announced
            kept.append(module(value.to(_DEVICE)).cpu())
            # Whoever calls for the first time does not know how long to poll, and sleeps.
            if number:
                assert device.num_announced - before == (num_elements == MAX_COPIED_BYTES)
    for number, got in enumerate(kept):
        assert torch.equal(got, torch.full((num_elements,), 2.0 * number))


def test_a_device_that_fails_is_an_operation_that_fails(device: LateDevice) -> None:
    """The call is made again, operation by operation, of which one says why; the next call has a plan again."""
    module, value = _Twice().to(_DEVICE), torch.arange(4.0).to(_DEVICE)
    with torch.no_grad():
        module(value)
        device.error = RuntimeError("the device is lost")
        num_announced, before = device.num_announced, Counter(djinn.stats()["fallbacks"])
        assert module(value).tolist() == [0.0, 2.0, 4.0, 6.0]
        assert device.num_announced == num_announced + 1
        device.error = None
        assert module(value).tolist() == [0.0, 2.0, 4.0, 6.0]
        assert Counter(djinn.stats()["fallbacks"]) - before == {"an operation failed with RuntimeError": 1}


class _Kept(torch.nn.Module):
    factor: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(2.0))

    def forward(self, value: torch.Tensor, kept: list[torch.Tensor]) -> torch.Tensor:
        kept.append(value * self.factor)
        return kept[-1]


def test_a_device_that_fails_leaves_what_is_passed_alone(device: LateDevice) -> None:
    """A list that forward appends to has one entry more after each call, whichever way that took."""
    module, value = _Kept().to(_DEVICE), torch.ones(MAX_COPIED_BYTES, device=_DEVICE)
    with torch.no_grad():
        module(value, [])  # whoever calls for the first time sleeps, and is not told by the device
        for has_failed in (False, True, False, True):
            kept: list[torch.Tensor] = []
            device.error = RuntimeError("the device is lost") if has_failed else None
            num_announced = device.num_announced
            result = module(value, kept)
            assert device.num_announced == num_announced + 1
            assert [each.cpu().unique().tolist() for each in (result, *kept)] == [[2.0]] * 2


def test_an_interrupted_wait_keeps_its_connection_busy(device: LateDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the device will write there belongs to the call that was given up."""
    module, value = _Twice().to(_DEVICE), torch.arange(4.0).to(_DEVICE)

    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    with torch.no_grad():
        module(value)
        used = runtime.current_client().connection()
        device.ends.clear()
        with monkeypatch.context() as patched:
            patched.setattr(used, "await_end", interrupt)
            with pytest.raises(KeyboardInterrupt):
                module(value)
        assert used.is_busy
        device.ends.set()
        assert module(value).tolist() == [0.0, 2.0, 4.0, 6.0]
        assert runtime.current_client().connection() is not used
