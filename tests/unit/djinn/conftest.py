"""A running runtime, started once for each test module."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

import djinn
from djinn.client import runtime as djinn_runtime

DEVICE = "remote_accelerator:0"


@pytest.fixture(scope="module")
def runtime() -> Iterator[None]:
    """An embedded server with small segments and one thread, so that results are those of this process's one thread."""
    djinn.init(config=djinn.Config(data_capacity_mb=64, session_arena_mb=4, stack_mb=256, text_mb=256, host_pool_mb=64))
    try:
        yield
    finally:
        djinn.shutdown()


@pytest.fixture(autouse=True)
def _audited() -> Iterator[None]:
    """After every test, the server that it may have left running checks its own memory."""
    yield
    if djinn_runtime.is_running():
        with contextlib.suppress(djinn.ConnectionFailedError):  # some tests end their server
            djinn.audit()
