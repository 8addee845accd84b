"""Executions whose reply is written while they go on: it arrives as others do, or others arrive instead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import perf_counter_ns
from typing import Any

import pytest
import torch

from djinn.config import Config
from djinn.core import ValueRef
from djinn.protocol import messages as m
from djinn.protocol.codec import decode_reply, encode
from djinn.server.core import ServerCore
from djinn.server.handler import Handler
from djinn.server.plan_requests import SENT
from djinn.transport.mailbox import IS_SUPPORTED
from djinn.transport.stream import FramedStream

pytestmark = pytest.mark.skipif(
    not IS_SUPPORTED, reason="needs an x86 processor, elsewhere messages keep to the socket"
)

_NOTHING = memoryview(b"")
_RESULT_AT = 8192
_NEGATE = ("aten.neg.default", [ValueRef(0)], {}, [1], None)
_IS_POSITIVE = ("aten.is_nonzero.default", [ValueRef(0)], {}, [None], None)


@pytest.fixture
def handlers(ends: tuple[FramedStream, FramedStream]) -> Iterator[tuple[Handler, Handler]]:
    """The connection's handler, and that of another one of the same client, on a device that is waited for."""
    core = ServerCore(Config(data_capacity_mb=4))
    core.compute.is_asynchronous = True
    client = core.attach(None)
    yield Handler(core, client, stream=ends[0]), Handler(core, client)
    core.detach(client)
    core.scheduler.stop()


def _request(handler: Handler, node: Any, *, shape: tuple[int, ...] = (2, 2), value: float = 1.0) -> m.ExecutePlan:
    """Plan one operation on a tensor and return the request to execute it on one with this element throughout."""
    strides = (2, 1)[-len(shape) :]
    num_outputs = sum(output is not None for output in node[3])
    num_bytes = 4 * torch.Size(shape).numel()
    planned, _ = handler.answer(
        m.MakePlan(
            values=[(shape, strides, 0, 0, number) for number in range(1 + num_outputs)],
            storage_bytes=[num_bytes] * (1 + num_outputs),
            nodes=[node],
            outputs=[1][:num_outputs],
            num_inputs=1,
            weight_ids=[],
            constants=[],
        ),
        _NOTHING,
    )
    assert isinstance(planned, m.Planned), planned
    content = torch.full(shape, value).numpy().tobytes()
    return m.ExecutePlan(plan_id=planned.plan_id, input_ids=[], passed=[(0, content)], base_id=m.MAX_OUTPUTS)


@pytest.mark.parametrize("offset_bytes", [0, _RESULT_AT])
@pytest.mark.parametrize("wants_result", [False, True])
def test_the_reply_of_an_execution_is_there_before_the_server_settles(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream], wants_result: bool, offset_bytes: int
) -> None:
    """With its times and its result, where that is wanted; who asks for the result elsewhere gets it after that."""
    handler, other = handlers
    request = _request(handler, _NEGATE)
    request.wants_result, request.reply_offset = wants_result, offset_bytes
    before_ns = perf_counter_ns()
    assert handler.answer(request, _NOTHING) == (SENT, b"")
    body, payload = ends[1].receive()
    reply = decode_reply(body)
    assert isinstance(reply, m.Done)
    assert before_ns <= reply.started_ns < reply.finished_ns <= perf_counter_ns()
    negated = torch.full((2, 2), -1.0).numpy().tobytes()
    assert bytes(payload) == (negated if wants_result else b"")
    got: list[bytes] = []
    download = m.Download(tensor_id=m.MAX_OUTPUTS)
    asking = threading.Thread(target=lambda: got.append(bytes(other.answer(download, _NOTHING)[1])))
    asking.start()
    asking.join(0.1)
    assert asking.is_alive(), "a result was asked for before it was registered"
    handler.settle()
    asking.join(10)
    assert got == [negated]


def test_a_failure_replaces_what_was_written(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hears that the execution was carried out which a device gave up."""
    handler, _ = handlers
    written: list[bool] = []

    def fail() -> None:
        written.append(ends[0]._num_prepared > 0)
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(handler._server.compute, "await_results", fail)
    reply, _ = handler.answer(_request(handler, _NEGATE), _NOTHING)
    handler.settle()
    assert written == [True]
    assert isinstance(reply, m.Failed)
    assert not ends[1].wait_spinning(100.0)
    ends[0].send(encode(reply))
    assert decode_reply(ends[1].receive()[0]) == reply


def test_a_reply_that_cannot_be_sent_keeps_nobody_waiting(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream]
) -> None:
    """Whatever is wrong with it, an offset that no message can have, say."""
    handler, other = handlers
    request = _request(handler, _NEGATE)
    request.reply_offset = -1
    replies: list[m.Reply] = []
    answering = threading.Thread(target=lambda: replies.append(handler.answer(request, _NOTHING)[0]))
    answering.start()
    answering.join(10)
    assert isinstance(replies[0], m.Failed)
    assert not handler._client.settling.locked()
    assert isinstance(other.answer(m.Download(tensor_id=m.MAX_OUTPUTS), _NOTHING)[0], m.Bytes)


def test_a_reply_says_how_long_sessions_took_to_come_back(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that is sent later."""
    handler, _ = handlers
    running = handler._server.scheduler.running()
    running.restore_us = 7.5
    request = _request(handler, _NEGATE)
    monkeypatch.setattr(handler._server.scheduler, "running", lambda *_, **__: running)
    assert handler.answer(request, _NOTHING)[0] is SENT
    handler.settle()
    reply = decode_reply(ends[1].receive()[0])
    assert isinstance(reply, m.Done)
    assert reply.restore_us == 7.5


def test_what_a_plan_learns_comes_in_a_reply_of_the_usual_kind(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream]
) -> None:
    """It is not known before the execution has ended."""
    handler, _ = handlers
    reply, _ = handler.answer(_request(handler, _IS_POSITIVE, shape=(1,)), _NOTHING)
    handler.settle()
    assert isinstance(reply, m.Done)
    assert reply is not SENT
    assert reply.learned is True
    assert reply.started_ns < reply.finished_ns


def test_a_result_without_room_in_shared_memory_comes_in_the_usual_way(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream]
) -> None:
    """The reply carries its bytes."""
    handler, _ = handlers
    request = _request(handler, _NEGATE, shape=(4096,))
    request.wants_result = True
    reply, content = handler.answer(request, _NOTHING)
    assert isinstance(reply, m.Done)
    assert reply is not SENT
    assert bytes(content) == torch.full((4096,), -1.0).numpy().tobytes()
    handler.settle()


def test_an_offset_outside_the_shared_memory_is_left_to_the_usual_way(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream]
) -> None:
    """Which refuses it, and ends the connection."""
    handler, _ = handlers
    request = _request(handler, _NEGATE)
    request.wants_result, request.reply_offset = True, 1 << 40
    reply, content = handler.answer(request, _NOTHING)
    handler.settle()
    assert isinstance(reply, m.Done)
    assert reply is not SENT
    assert len(content) == 16
