"""Requests without sockets: what an answer still needs stays until the answer was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from djinn.config import Config
from djinn.core import ValueRef
from djinn.memory.free_list import FreeList
from djinn.protocol import messages as m
from djinn.scheduling.states import State
from djinn.server.core import ServerCore
from djinn.server.executor import Replayed
from djinn.server.handler import Handler
from djinn.transport.mailbox import IS_SUPPORTED
from djinn.transport.stream import FramedStream
from support import operator_call

Ends = tuple[FramedStream, FramedStream]

has_mailboxes = pytest.mark.skipif(not IS_SUPPORTED, reason="nothing is confirmed elsewhere than on x86 processors")

_NUM_ELEMENTS = 100_000
_NOTHING = memoryview(b"")
# A node and its output, on weight 1.
_NEGATED = ("aten.neg.default", [ValueRef(0)], {}, [1], None), ((_NUM_ELEMENTS,), (1,), 0, 0, 1)


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


def _store_weight(handler: Handler) -> None:
    """Store ones as weight 1."""
    weight = memoryview(torch.ones(_NUM_ELEMENTS).numpy()).cast("B")
    _answer(handler, m.Upload(base_id=1, shape=(_NUM_ELEMENTS,), dtype_code=0, is_weight=True), weight)


def _plan_with_weight(handler: Handler, node: Any, output: Any) -> m.ExecutePlan:
    """Store weight 1 and plan one operation on it; return the request to execute it."""
    _store_weight(handler)
    planned, _ = handler.answer(
        m.MakePlan(
            values=[((_NUM_ELEMENTS,), (1,), 0, 0, 0), output],
            storage_bytes=[4 * _NUM_ELEMENTS] * (1 + output[-1]),
            nodes=[node],
            outputs=[1],
            num_inputs=1,
            weight_ids=[1],
            constants=[],
        ),
        _NOTHING,
    )
    assert isinstance(planned, m.Planned), planned
    return m.ExecutePlan(plan_id=planned.plan_id, input_ids=[], base_id=m.MAX_OUTPUTS)


def test_a_tensor_is_sent_as_it_was_although_its_session_leaves(handlers: tuple[Handler, Handler]) -> None:
    """Whoever needs the session's memory gets it at once, however slowly the client takes its answer."""
    handler, other = handlers
    elements = memoryview(torch.arange(1, _NUM_ELEMENTS + 1, dtype=torch.float32).numpy()).cast("B")
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
    opening.join(10)
    assert not opening.is_alive(), "the session was not evicted before its tensor was sent"
    assert bytes(content) == elements
    handler.settle()


def _say(ends: Ends, word: bool) -> None:
    """Send a message and confirm or withdraw it."""
    server, client = ends
    client.send(b"provisional")
    server.receive()
    (client.confirm if word else client.withdraw)()


@pytest.mark.parametrize("word", [None, False, pytest.param(True, marks=has_mailboxes)])
def test_a_provisional_call_begins_when_it_is_confirmed(
    handlers: tuple[Handler, Handler], ends: Ends, word: bool | None
) -> None:
    """Without a word, as over TCP, or withdrawn, nothing of it is seen; it can be sent again, and others go on."""
    handler, other = handlers
    one = m.Creation(1, (4,), (1,), 0, None, torch.ones(4).numpy().tobytes())
    planned, _ = other.answer(
        m.MakePlan(
            values=[((4,), (1,), 0, 0, 0)],
            storage_bytes=[16],
            nodes=[("aten.add_.Tensor", [ValueRef(0), 1.0], {}, [None], None)],
            outputs=[],
            num_inputs=1,
            weight_ids=[],
            constants=[],
        ),
        _NOTHING,
    )
    assert isinstance(planned, m.Planned), planned
    if word is not None:
        handler = Handler(handler._server, handler._client, ends[0])
        _say(ends, word)
    request = m.ExecutePlan(plan_id=planned.plan_id, input_ids=[1], base_id=m.MAX_OUTPUTS, creations=[one])
    request.is_provisional = True
    reply, _ = handler.answer(request, _NOTHING)
    handler.settle()
    assert isinstance(reply, m.Done) if word else (isinstance(reply, m.Failed) and reply.error == "WithdrawnError")
    assert torch.frombuffer(bytearray(_answer(other, m.Download(tensor_id=1))), dtype=torch.float32)[0] == 1 + bool(
        word
    )
    request.is_provisional, request.creations = False, []
    assert isinstance(handler.answer(request, _NOTHING)[0], m.Done)
    handler.settle()
    assert torch.frombuffer(bytearray(_answer(other, m.Download(tensor_id=1))), dtype=torch.float32)[0] == 2 + bool(
        word
    )


@has_mailboxes
@pytest.mark.parametrize("state", ["waits", "is away", "is another's turn"])
def test_a_provisional_call_does_not_wait_for_a_session(
    handlers: tuple[Handler, Handler], ends: Ends, state: str
) -> None:
    """If it was withdrawn, others would have given way, or its announced wait be over, for a call that never was."""
    handler, other = handlers
    _answer(handler, m.OpenSession(opened_id="one", arena_bytes=1 << 20))
    request = _plan_with_weight(other, *_NEGATED)
    request.session_id, request.is_provisional = "one", True
    handler = Handler(handler._server, handler._client, ends[0])
    _say(ends, True)
    scheduler = handler._server.scheduler
    entry = scheduler._entry(handler._client.qualified("one"))
    if state == "waits":
        entry.session.state = State.IO_WAIT
    elif state == "is away":
        _answer(other, m.OpenSession(opened_id="two", arena_bytes=1 << 20))
        assert entry.session.state is State.EVICTED
    else:
        entry.turn.acquire()
    before = entry.session.state, scheduler.stats()["restores"]
    reply, _ = handler.answer(request, _NOTHING)
    handler.settle()
    assert isinstance(reply, m.Failed)
    assert reply.error == "WithdrawnError"
    assert (entry.session.state, scheduler.stats()["restores"]) == before
    if state == "is another's turn":
        entry.turn.release()
    request.is_provisional = False
    assert isinstance(handler.answer(request, _NOTHING)[0], m.Done)
    handler.settle()
    request.is_provisional, request.base_id = True, 2 * m.MAX_OUTPUTS
    assert isinstance(handler.answer(request, _NOTHING)[0], m.Done), "the session is idle in memory now"
    handler.settle()


def test_only_what_a_request_made_is_taken_back(handlers: tuple[Handler, Handler]) -> None:
    """Not a tensor whose name was taken when it failed."""
    handler, other = handlers
    ones = operator_call("aten.ones.default", [[4]], m.MAX_OUTPUTS)
    _answer(other, ones)
    failed, _ = handler.answer(ones, _NOTHING)
    assert isinstance(failed, m.Failed)
    handler.take_back(ones, failed)
    _answer(other, m.Download(tensor_id=m.MAX_OUTPUTS))
    other.take_back(ones, m.Described(outputs=[], is_sequence=False, started_ns=0, finished_ns=0))
    gone, _ = other.answer(m.Download(tensor_id=m.MAX_OUTPUTS), _NOTHING)
    assert isinstance(gone, m.Failed)


def test_a_session_that_nobody_learned_of_is_closed(handlers: tuple[Handler, Handler]) -> None:
    """Its name is free again, and its memory; one whose opening failed belongs to somebody else."""
    handler, _ = handlers
    request = m.OpenSession(opened_id="left", arena_bytes=1 << 20)
    opened, _ = handler.answer(request, _NOTHING)
    failed, _ = handler.answer(request, _NOTHING)
    assert isinstance(failed, m.Failed)
    handler.take_back(request, failed)
    _answer(handler, m.Checksum(checked_id="left"))
    handler.take_back(request, opened)
    _answer(handler, request)


def test_a_session_that_another_connection_opened_since_stays(handlers: tuple[Handler, Handler]) -> None:
    """It has the name of the one that nobody learned of, no more; nor does closing fail where there is none."""
    handler, other = handlers
    request = m.OpenSession(opened_id="same", arena_bytes=1 << 20)
    opened, _ = handler.answer(request, _NOTHING)
    _answer(other, m.CloseSession(closed_id="same"))
    handler.take_back(request, opened)
    _answer(other, request)
    handler.take_back(request, opened)
    _answer(other, m.Checksum(checked_id="same"))


def test_a_plan_that_nobody_learned_of_is_dropped(handlers: tuple[Handler, Handler]) -> None:
    """It would take a place among the client's plans."""
    handler, _ = handlers
    request = m.MakePlan(
        values=[((1,), (1,), 0, 0, 0), ((1,), (1,), 0, 0, 1)],
        storage_bytes=[4, 4],
        nodes=[("aten.neg.default", [ValueRef(0)], {}, [1], None)],
        outputs=[1],
        num_inputs=1,
        weight_ids=[],
        constants=[],
    )
    planned, _ = handler.answer(request, _NOTHING)
    assert isinstance(planned, m.Planned), planned
    assert len(handler._client.plans) == 1
    handler.take_back(request, planned)
    assert len(handler._client.plans) == 0


def test_no_call_makes_more_tensors_than_identifiers(
    handlers: tuple[Handler, Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next ones may belong to other calls; none of its results stays."""
    monkeypatch.setattr("djinn.server.executor.MAX_OUTPUTS", 2)
    handler, _ = handlers
    _answer(handler, operator_call("aten.ones.default", [[3]], m.MAX_OUTPUTS))
    for length, is_refused in ((1, True), (2, False)):
        split = operator_call("aten.split.Tensor", [ValueRef(0), length], 2 * m.MAX_OUTPUTS, [m.MAX_OUTPUTS])
        reply, _ = handler.answer(split, _NOTHING)
        assert isinstance(reply, m.Failed) == is_refused, reply
        assert (2 * m.MAX_OUTPUTS in handler._client.table) == (not is_refused)


def test_a_plan_that_fails_frees_what_came_with_it(handlers: tuple[Handler, Handler]) -> None:
    """Nobody would ask for that again."""
    handler, _ = handlers
    _answer(handler, operator_call("aten.ones.default", [[4]], m.MAX_OUTPUTS))
    request = m.ExecutePlan(plan_id=77, input_ids=[], base_id=2 * m.MAX_OUTPUTS, frees=[m.MAX_OUTPUTS])
    failed, _ = handler.answer(request, _NOTHING)
    assert isinstance(failed, m.Failed)
    gone, _ = handler.answer(m.Download(tensor_id=m.MAX_OUTPUTS), _NOTHING)
    assert isinstance(gone, m.Failed)


@pytest.mark.parametrize("drops_plan_first", [False, True])
def test_a_plan_that_waited_while_its_weight_went_does_not_run(
    handlers: tuple[Handler, Handler], drops_plan_first: bool
) -> None:
    """It would read whatever lies there next, or nothing that is mapped."""
    handler, other = handlers
    node = ("aten.neg.default", [ValueRef(0)], {}, [1], None)
    request = _plan_with_weight(handler, node, ((_NUM_ELEMENTS,), (1,), 0, 0, 1))
    replies: list[m.Reply] = []
    executing = threading.Thread(target=lambda: replies.append(handler.answer(request, _NOTHING)[0]))
    with handler._server.store.computing:
        executing.start()
        executing.join(0.2)
        assert executing.is_alive(), "a plan ran beside another computation"
        if drops_plan_first:
            _answer(other, m.DropPlans(plan_ids=[request.plan_id]))
        _answer(other, m.Ping(busy_us=0.0, frees=[1]))
    executing.join(10)
    assert isinstance(replies[0], m.Failed)
    assert replies[0].error == "UnknownPlanError"


def test_a_plan_does_not_return_what_was_freed_while_it_ran(handlers: tuple[Handler, Handler]) -> None:
    """The memory belongs to others by then."""
    handler, other = handlers
    node = ("aten.slice.Tensor", [ValueRef(0), 0, 5, 15], {}, [1], None)
    request = _plan_with_weight(handler, node, ((10,), (1,), 0, 5, 0))
    executor = handler._server.executor
    execute = executor.execute

    def execute_slowly(*args: Any, **kwargs: Any) -> Replayed:
        done = execute(*args, **kwargs)
        _answer(other, m.Ping(busy_us=0.0, frees=[1]))
        return done

    executor.execute = execute_slowly  # type: ignore[method-assign]
    failed, _ = handler.answer(request, _NOTHING)
    assert isinstance(failed, m.Failed)
    assert failed.error == "UnknownPlanError"
    assert not handler._client.settling.locked()
    handler._server.check_integrity()


def test_a_weight_stays_while_others_compute(handlers: tuple[Handler, Handler]) -> None:
    """They may be computing with it."""
    handler, other = handlers
    _store_weight(handler)
    freeing = threading.Thread(target=_answer, args=(other, m.Ping(busy_us=0.0, frees=[1])))
    with handler._server.store.computing:
        freeing.start()
        freeing.join(0.2)
        assert freeing.is_alive()
        assert handler._server.vmu.text.used_bytes > 0
    freeing.join(10)
    assert handler._server.vmu.text.used_bytes == 0


def test_connections_that_make_and_free_at_once_leave_the_memory_in_order(
    handlers: tuple[Handler, Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long either takes: connections of one client, and those of several that share weights."""
    core = handlers[0]._server
    insert = FreeList._insert

    def insert_slowly(free_list: FreeList, start: int, num_bytes: int) -> None:
        time.sleep(1e-5)
        insert(free_list, start, num_bytes)

    monkeypatch.setattr(FreeList, "_insert", insert_slowly)
    _answer(handlers[0], m.OpenSession(opened_id="shared", arena_bytes=1 << 20))
    stranger = core.attach(None)

    def make_and_free(number: int, handler: Handler, session_id: str | None) -> None:
        is_weight = session_id is None
        for turn in range(200):
            tensor_id = 1 + number + 8 * turn
            content = memoryview(torch.full((64,), float(turn % 3)).numpy()).cast("B")
            upload = m.Upload(base_id=tensor_id, shape=(64,), dtype_code=0, is_weight=is_weight, session_id=session_id)
            _answer(handler, upload, content)
            assert _answer(handler, m.Download(tensor_id=tensor_id)) == bytes(content)
            _answer(handler, m.Ping(busy_us=0.0, frees=[tensor_id]))

    calls = [(0, handlers[0], None), (1, Handler(core, stranger), None)]
    calls += [(2, Handler(core, handlers[0]._client), "shared"), (3, handlers[1], "shared")]
    with ThreadPoolExecutor(4) as pool:
        for made in [pool.submit(make_and_free, *call) for call in calls]:
            made.result()
    core.check_integrity()
    assert core.vmu.text.used_bytes == core.vmu.data.used_bytes == 0
    core.detach(stranger)
