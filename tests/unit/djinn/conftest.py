"""A running runtime, started once for each test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from embedded import audited, embedded_server

__all__ = ["audited"]


@pytest.fixture(scope="module")
def runtime() -> Iterator[None]:
    """An embedded server with small segments and one thread, so that results are those of this process's one thread."""
    with embedded_server(data_capacity_mb=64, session_arena_mb=4, stack_mb=256, text_mb=256, host_pool_mb=64):
        yield
