"""Requests without sockets: what an answer still needs stays until the answer was sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from djinn.config import Config
from djinn.protocol import messages as m
from djinn.server.core import ServerCore
from djinn.server.handler import Handler

_NUM_ELEMENTS = 100_000
_NOTHING = memoryview(b"")


@pytest.fixture
def handlers() -> Iterator[tuple[Handler, Handler]]:
    """Two connections' handlers of a server with device memory for one session of 1 MiB."""
    core = ServerCore(
        Config(scheduling_mode="lru", data_capacity_mb=4, data_budget_mb=1, host_pool_mb=4, admission_timeout_s=30.0)
    )
    client = core.attach(None)
    yield Handler(core, client), Handler(core, client)
    core.detach(client)
    core.scheduler.stop()


def _answer(handler: Handler, request: m.Request, payload: memoryview = _NOTHING) -> bytes:
    reply, content = handler.answer(request, payload)
    assert not isinstance(reply, m.Failed), reply.message
    return bytes(content)


def test_a_session_stays_until_its_tensor_was_sent(handlers: tuple[Handler, Handler]) -> None:
    """Whoever needs its memory waits: the elements that are being sent may lie there."""
    handler, other = handlers
    elements = memoryview(torch.arange(_NUM_ELEMENTS, dtype=torch.float32).numpy()).cast("B")
    _answer(handler, m.OpenSession(opened_id="sent", arena_bytes=1 << 20))
    _answer(
        handler,
        m.Upload(base_id=1, shape=(_NUM_ELEMENTS,), dtype_code=0, is_weight=False, session_id="sent"),
        memoryview(bytearray(elements)),
    )
    reply, content = handler.answer(m.Download(tensor_id=1), _NOTHING)
    assert isinstance(reply, m.Bytes)
    opening = threading.Thread(target=_answer, args=(other, m.OpenSession(opened_id="needs it", arena_bytes=1 << 20)))
    opening.start()
    opening.join(0.3)
    assert opening.is_alive(), "the session was evicted while its tensor was being sent"
    assert bytes(content) == elements
    handler.settle()
    opening.join(10)
    assert not opening.is_alive(), "the session was not evicted after its tensor was sent"
