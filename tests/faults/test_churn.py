"""Sessions and clients that come and go leave nothing: neither memory nor descriptors nor threads."""

from __future__ import annotations

from typing import Any

import psutil
import pytest
import torch

import djinn
from djinn.client.client import Client
from djinn.client.runtime import current_client
from djinn.config import Config
from djinn.units import MiB
from support import DEVICE

# What an allocator may keep of what was freed.
_SLACK_BYTES = 24 * MiB


@pytest.fixture
def server() -> Any:
    """An embedded server's process."""
    djinn.init(config=djinn.Config(data_capacity_mb=4096, data_budget_mb=64, host_pool_mb=64, num_threads=1))
    yield psutil.Process(djinn.stats()["server"]["pid"])
    djinn.shutdown()


def _holdings(process: psutil.Process) -> tuple[int, int, int]:
    return process.memory_info().rss, process.num_fds(), process.num_threads()


def _live(number: int) -> None:
    """One session's life: memory, a computation, a wait, and back."""
    with djinn.session(f"session-{number}", arena_mb=1):
        tensor = torch.ones(1000, device=DEVICE)
        djinn.signal_phase("IO_WAIT", estimated_resume_ms=1.0)
        assert tensor.sum().item() == 1000


def test_sessions_leave_nothing(server: psutil.Process, soaks: bool) -> None:
    """Ten thousand of them in the long form."""
    for number in range(200):
        _live(number)
    before = _holdings(server)
    for number in range(200, 10_200 if soaks else 1_200):
        _live(number)
    after = _holdings(server)
    assert after[0] <= before[0] + _SLACK_BYTES
    assert after[1:] == before[1:]
    assert djinn.stats()["scheduler"]["num_sessions"] == 0
    assert djinn.stats()["scheduler"]["host_pool_used_bytes"] == 0


def test_clients_leave_nothing(server: psutil.Process, soaks: bool) -> None:
    """Connections with their threads and shared memory are gone when their clients are."""
    address = str(current_client()._address)

    def come_and_go() -> None:
        client = Client(address, Config())
        client.close()

    for _ in range(20):
        come_and_go()
    djinn.stats()
    before = _holdings(server)
    for _ in range(2_000 if soaks else 200):
        come_and_go()
    for _ in range(200):  # threads of the last connections may still be ending, as they may have been before
        num_clients = djinn.stats()["server"]["num_clients"]
        after = _holdings(server)
        if num_clients == 1 and after[1] <= before[1] and after[2] <= before[2]:
            break
    assert after[1] <= before[1]
    assert after[2] <= before[2]
    assert after[0] <= before[0] + _SLACK_BYTES
    assert num_clients == 1
