"""An embedded server for the tests of a module, and the audit of its memory after each of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

import djinn
from djinn.client import runtime


@contextlib.contextmanager
def embedded_server(**settings: Any) -> Iterator[None]:
    """Run a server with these settings for as long as the context lasts."""
    djinn.init(config=djinn.Config(**settings))
    try:
        yield
    finally:
        djinn.shutdown()


@pytest.fixture(autouse=True)
def audited() -> Iterator[None]:
    """After every test, the server that it may have left running checks its own memory."""
    yield
    if runtime.is_running():
        with contextlib.suppress(djinn.ConnectionFailedError):  # some tests end their server
            djinn.audit()
