"""Results that come along with their calls belong to their callers, however many threads share a plan."""

from __future__ import annotations

import gc

import pytest
import torch

import djinn
from djinn.client import runtime
from djinn.device.prefetch import MAX_PREFETCHED_BYTES
from djinn.transport.shared_memory import REPLY_BYTES
from support import DEVICE, run_by_turns

NUM_THREADS = 8


class _Echo(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(1))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value + self.zero


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("num_elements", [4, 40_000])
def test_threads_that_share_a_plan_get_their_own_results(num_elements: int) -> None:
    """Small results, which are copied, and large ones, which stay where they come to."""
    module = _Echo().to(DEVICE)
    wrong: list[int] = []

    def call(number: int) -> None:
        value = torch.full((num_elements,), float(number)).to(DEVICE)
        before = None
        with torch.no_grad():
            for _ in range(150):
                result = module(value).cpu()
                if not (result == number).all() or (before is not None and not (before == number).all()):
                    wrong.append(number)
                before = result

    with torch.no_grad():
        for _ in range(3):
            module(torch.zeros(num_elements).to(DEVICE)).cpu()
    run_by_turns(NUM_THREADS, call)
    assert not wrong


@pytest.mark.usefixtures("runtime")
def test_a_dropped_plan_leaves_the_place_of_its_last_result() -> None:
    """At once, without a search for cycles: there is room for the results of more plans than the place for replies holds."""
    gc.disable()
    try:
        buffers = runtime.current_client().connection()._reply_buffers
        for _ in range(2 * REPLY_BYTES // MAX_PREFETCHED_BYTES):
            module = _Echo().to(DEVICE)
            value = torch.zeros(MAX_PREFETCHED_BYTES // 4).to(DEVICE)
            with torch.no_grad():
                for _ in range(3):
                    module(value).cpu()
            djinn.plan_cache.clear()
        assert buffers.take(MAX_PREFETCHED_BYTES) is not None
    finally:
        gc.enable()


@pytest.mark.usefixtures("runtime")
def test_large_results_that_are_held_stay_as_they_are() -> None:
    """Also when more of them are held than the place for replies has room for, and when the runtime is gone."""
    module = _Echo().to(DEVICE)
    num_results = REPLY_BYTES // MAX_PREFETCHED_BYTES + 4
    value = torch.arange(MAX_PREFETCHED_BYTES // 4, dtype=torch.float32)
    held = []
    with torch.no_grad():
        for number in range(num_results):
            held.append(module((value + number).to(DEVICE)).cpu())
        held[1][0] = -1.0  # which is nobody's business but the holder's
    djinn.shutdown()
    expected = [value + number for number in range(num_results)]
    expected[1][0] = -1.0
    assert all(map(torch.equal, held, expected))
