"""What tests on a CUDA device share: they are skipped without one, and compare with native PyTorch there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from embedded import audited, embedded_server

__all__ = ["audited"]


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
    with embedded_server(device_type="cuda", session_arena_mb=64, data_budget_mb=128, host_pool_mb=512):
        yield
