"""Executions whose reply is sent while they go on: the device says when they end, or another reply follows."""

from __future__ import annotations

import threading
import time
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
from djinn.transport.mailbox import IS_SUPPORTED
from djinn.transport.stream import FramedStream
from late_device import LateDevice

pytestmark = pytest.mark.skipif(
    not IS_SUPPORTED, reason="needs an x86 processor, elsewhere messages keep to the socket"
)

_NOTHING = memoryview(b"")
_RESULT_AT = 8192
_NEGATE = ("aten.neg.default", [ValueRef(0)], {}, [1], None)
_IS_POSITIVE = ("aten.is_nonzero.default", [ValueRef(0)], {}, [None], None)


@pytest.fixture
def handlers(ends: tuple[FramedStream, FramedStream], device: LateDevice) -> Iterator[tuple[Handler, Handler]]:
    """The connection's handler, and that of another one of the same client."""
    core = ServerCore(Config(data_capacity_mb=4))
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


def _launched(handler: Handler) -> m.Launched:
    """Have an execution launched, and return the reply, which is not sent yet."""
    reply, _ = handler.answer(_request(handler, _NEGATE), _NOTHING)
    assert isinstance(reply, m.Launched)
    return reply


def _settle(handler: Handler) -> tuple[threading.Thread, list[m.Failed | None]]:
    """Let a handler settle in a thread of its own, and return what it returns there."""
    settled: list[m.Failed | None] = []
    settling = threading.Thread(target=lambda: settled.append(handler.settle()))
    settling.start()
    return settling, settled


@pytest.mark.parametrize("offset_bytes", [0, _RESULT_AT])
@pytest.mark.parametrize("wants_result", [False, True])
def test_the_reply_of_an_execution_is_sent_before_it_ends(
    handlers: tuple[Handler, Handler],
    ends: tuple[FramedStream, FramedStream],
    device: LateDevice,
    wants_result: bool,
    offset_bytes: int,
) -> None:
    """Unless its result is wanted, but nowhere where the device could write it."""
    handler, _ = handlers
    request = _request(handler, _NEGATE)
    request.wants_result, request.reply_offset = wants_result, offset_bytes
    before_ns = perf_counter_ns()
    reply, content = handler.answer(request, _NOTHING)
    negated = torch.full((2, 2), -1.0).numpy().tobytes()
    if wants_result and not offset_bytes:
        assert isinstance(reply, m.Done)
        assert reply.started_ns < reply.finished_ns
        assert bytes(content) == negated
        assert handler.settle() is None
        return
    assert isinstance(reply, m.Launched)
    assert before_ns <= reply.started_ns <= perf_counter_ns()
    ends[0].send(encode(reply), content, offset_bytes=offset_bytes)
    settling, settled = _settle(handler)
    body, payload = ends[1].receive()
    assert decode_reply(body) == reply
    assert not ends[1].wait_spinning(1e4, awaits_end=True)
    assert not any(payload)
    device.ends.set()
    assert ends[1].wait_spinning(10e6, awaits_end=True)
    assert ends[1].has_ended()
    assert bytes(payload) == (negated if wants_result else b"")
    settling.join(10)
    assert settled == [None]


def test_results_can_be_used_while_the_device_computes_them(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream], device: LateDevice
) -> None:
    """What other connections ask of it comes after them on the device; before they are registered nobody can ask."""
    handler, other = handlers
    _launched(handler)
    got: list[bytes] = []
    download = m.Download(tensor_id=m.MAX_OUTPUTS)
    asking = threading.Thread(target=lambda: got.append(bytes(other.answer(download, _NOTHING)[1])))
    asking.start()
    asking.join(0.1)
    assert asking.is_alive(), "a result was asked for before it was registered"
    settling, _ = _settle(handler)
    asking.join(10)
    assert got == [torch.full((2, 2), -1.0).numpy().tobytes()]
    device.ends.set()
    settling.join(10)


def test_a_session_is_in_use_until_the_device_is_done_with_it(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream], device: LateDevice
) -> None:
    """Nobody moves its memory meanwhile, or gives it away."""
    handler, other = handlers
    assert isinstance(handler.answer(m.OpenSession(opened_id="s", arena_bytes=4096), _NOTHING)[0], m.Opened)
    handler.settle()
    request = _request(handler, _NEGATE)
    request.session_id = "s"
    assert isinstance(handler.answer(request, _NOTHING)[0], m.Launched)
    settling, _ = _settle(handler)
    closing = threading.Thread(target=other.answer, args=(m.CloseSession(closed_id="s"), _NOTHING))
    closing.start()
    closing.join(0.1)
    assert closing.is_alive(), "a session was closed that a device was using"
    device.ends.set()
    settling.join(10)
    closing.join(10)
    assert not closing.is_alive()


def test_whoever_falls_asleep_before_the_end_is_woken_by_it(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream], device: LateDevice
) -> None:
    """The device writes to memory, which wakes nobody."""
    handler, _ = handlers
    reply, content = handler.answer(_request(handler, _NEGATE), _NOTHING)
    ends[0].send(encode(reply), content)
    ends[1].receive()
    settling, _ = _settle(handler)
    ended: list[bool] = []
    waiting = threading.Thread(target=lambda: ended.append(ends[1].await_end()))
    waiting.start()
    while ends[0].is_peer_awake:
        time.sleep(1e-3)
    device.ends.set()
    waiting.join(10)
    settling.join(10)
    assert ended == [True]


def test_a_device_that_fails_is_told_of_in_a_second_reply(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream], device: LateDevice
) -> None:
    """The first one said that the execution had begun; nobody waits for its sessions or tensors any more."""
    handler, other = handlers
    ends[0].send(encode(_launched(handler)))
    device.error = RuntimeError("the device is lost")
    device.ends.set()
    assert handler.settle() == m.Failed(error="RuntimeError", message="the device is lost")
    assert not handler._client.settling.locked()
    assert isinstance(other.answer(m.Stats(), _NOTHING)[0], m.Counters)


def test_a_device_that_fails_after_it_said_so_is_not_told_of_again(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream], device: LateDevice
) -> None:
    """The client has gone on: a second reply would be taken for that to its next request."""
    handler, _ = handlers
    ends[0].send(encode(_launched(handler)))
    device.later_error = RuntimeError("the device is lost")
    device.ends.set()
    assert handler.settle() is None
    ends[1].receive()
    assert ends[1].has_ended()


def test_nothing_is_announced_to_a_client_that_sleeps(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream], device: LateDevice
) -> None:
    """It is woken by a reply to what was carried out."""
    handler, _ = handlers
    assert ends[1]._inbox is not None
    assert ends[1]._inbox.falls_asleep()
    assert isinstance(handler.answer(_request(handler, _NEGATE), _NOTHING)[0], m.Done)
    assert handler.settle() is None
    assert device.num_announced == 0


def test_an_execution_with_a_pace_is_not_announced(
    handlers: tuple[Handler, Handler], device: LateDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reply comes when that much time has passed."""
    handler, _ = handlers
    monkeypatch.setattr(handler._plans, "_pace_s", 0.05)
    start_s = time.monotonic()
    assert isinstance(handler.answer(_request(handler, _NEGATE), _NOTHING)[0], m.Done)
    assert time.monotonic() - start_s >= 0.05
    handler.settle()


@pytest.mark.parametrize("is_announced", [False, True])
def test_a_reply_says_how_long_sessions_took_to_come_back(
    handlers: tuple[Handler, Handler],
    ends: tuple[FramedStream, FramedStream],
    device: LateDevice,
    monkeypatch: pytest.MonkeyPatch,
    is_announced: bool,
) -> None:
    """Whichever reply it is."""
    handler, _ = handlers
    running = handler._server.scheduler.running()
    running.restore_us = 7.5
    request = _request(handler, _NEGATE)
    monkeypatch.setattr(handler._server.scheduler, "running", lambda *_, **__: running)
    request.wants_result = not is_announced
    reply, _ = handler.answer(request, _NOTHING)
    device.ends.set()
    handler.settle()
    assert isinstance(reply, m.Launched if is_announced else m.Done)
    assert reply.restore_us == 7.5


def test_what_a_plan_learns_comes_when_it_is_known(
    handlers: tuple[Handler, Handler], ends: tuple[FramedStream, FramedStream], device: LateDevice
) -> None:
    """Which is not before the execution has ended."""
    handler, _ = handlers
    reply, _ = handler.answer(_request(handler, _IS_POSITIVE, shape=(1,)), _NOTHING)
    handler.settle()
    assert isinstance(reply, m.Done)
    assert reply.learned is True
    assert reply.started_ns < reply.finished_ns
    assert device.num_announced == 0


@pytest.mark.parametrize(("offset_bytes", "num_elements"), [(0, 4096), (1 << 40, 4)])
def test_a_result_without_a_place_comes_with_its_reply(
    handlers: tuple[Handler, Handler], device: LateDevice, offset_bytes: int, num_elements: int
) -> None:
    """There is no room in shared memory, or the offset lies outside; who sends the reply refuses that."""
    handler, _ = handlers
    request = _request(handler, _NEGATE, shape=(num_elements,))
    request.wants_result, request.reply_offset = True, offset_bytes
    reply, content = handler.answer(request, _NOTHING)
    assert isinstance(reply, m.Done)
    assert bytes(content) == torch.full((num_elements,), -1.0).numpy().tobytes()
    handler.settle()
