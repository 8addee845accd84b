"""What tests on a CUDA device share: they are skipped without one, and compare with native PyTorch there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch

import djinn
from djinn.client import runtime as djinn_runtime


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and skip it where torch finds no CUDA device."""
    for item in items:
        if "gpu" in item.path.parts:
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="torch finds no CUDA device here"))


@pytest.fixture(scope="module")
def runtime() -> Iterator[None]:
    """An embedded server on the CUDA device, with room for two sessions of 64 MiB at once."""
    torch.backends.cuda.enable_cudnn_sdp(False)  # with it, native PyTorch differs from itself
    djinn.init(config=djinn.Config(device_type="cuda", session_arena_mb=64, data_budget_mb=128, host_pool_mb=512))
    try:
        yield
    finally:
        djinn.shutdown()


@pytest.fixture(autouse=True)
def _audited() -> Iterator[None]:
    """After every test, the server that it may have left running checks its own memory."""
    yield
    if djinn_runtime.is_running():
        with contextlib.suppress(djinn.ConnectionFailedError):
            djinn.audit()
