"""Results that come along with their calls belong to their callers, however many threads share a plan."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest
import torch

import djinn
from djinn.core import TensorMeta
from djinn.device.prefetch import MAX_PREFETCHED_BYTES, Prefetched, Prefetcher
from djinn.transport.shared_memory import REPLY_BYTES
from support import DEVICE

NUM_THREADS = 8


class _Echo(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(1))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value + self.zero


def _run_by_turns(work: Callable[[int], None]) -> None:
    """Run it with a number in each thread, which lose the interpreter after every few instructions."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(NUM_THREADS)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)


@pytest.mark.parametrize("num_elements", [16, 40_000])
def test_what_a_thread_keeps_is_what_it_gets(num_elements: int) -> None:
    """Small results and large ones."""
    prefetcher = Prefetcher(TensorMeta((num_elements,), (1,), torch.float32))
    wrong: list[int] = []

    def fetch(number: int) -> None:
        payload = memoryview(torch.full((num_elements,), float(number)).numpy().tobytes())
        for _ in range(300):
            prefetched = Prefetched(prefetcher, None, 0)
            prefetched.make_host()
            prefetched.arrive(payload)
            if not (prefetched.host == number).all():
                wrong.append(number)

    _run_by_turns(fetch)
    assert not wrong


@pytest.mark.usefixtures("runtime")
def test_threads_that_share_a_plan_get_their_own_results() -> None:
    """Through the whole runtime."""
    module = _Echo().to(DEVICE)
    wrong: list[int] = []

    def call(number: int) -> None:
        value = torch.full((4,), float(number)).to(DEVICE)
        with torch.no_grad():
            for _ in range(150):
                if module(value).cpu().tolist() != [float(number)] * 4:
                    wrong.append(number)

    with torch.no_grad():
        for _ in range(3):
            module(torch.zeros(4).to(DEVICE)).cpu()
    _run_by_turns(call)
    assert not wrong


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
