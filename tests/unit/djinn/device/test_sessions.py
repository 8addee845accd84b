"""Sessions: tensors live in their arena, move with it, and end with it."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import djinn
from djinn.client.runtime import current_session
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")


def _await_eviction(evictions: int) -> None:
    deadline = time.monotonic() + 20
    while djinn.stats()["scheduler"]["evictions"] == evictions:
        assert time.monotonic() < deadline, "the session was never evicted"


def test_tensors_live_in_the_sessions_arena() -> None:
    """What a session makes counts against its arena, and goes with it."""
    with djinn.session(arena_mb=2):
        kept = torch.zeros(1024, device=DEVICE)
        assert djinn.stats()["memory"]["data"]["used_bytes"] >= kept.nbytes
    assert djinn.stats()["memory"]["data"]["used_bytes"] == 0
    with pytest.raises(djinn.SessionClosedError, match="was closed"):
        kept.cpu()


def test_a_full_arena_names_session_request_and_room() -> None:
    """The message shows the name that the user gave."""
    with (
        djinn.session("small", arena_mb=1),
        pytest.raises(djinn.OutOfMemoryError, match=r"'small' asked for 8388608 .*1048576 bytes.*arena_mb"),
    ):
        torch.zeros(2 * 1024 * 1024, device=DEVICE).sum().item()


def test_an_arena_larger_than_the_segment_is_refused() -> None:
    """One sentence with request and capacity."""
    with pytest.raises(djinn.OutOfMemoryError, match=r"'huge' asked for an arena of 134217728 .* 67108864 bytes"):
        djinn.session("huge", arena_mb=128)


def test_a_closed_session_cannot_be_entered_or_signalled() -> None:
    """Use after the end says so."""
    session = djinn.session("gone")
    session.close()
    with pytest.raises(djinn.SessionClosedError, match="'gone' was closed"), session:
        pass
    with pytest.raises(djinn.SessionClosedError, match="'gone' is not open"):
        djinn.signal_phase("IO_WAIT", session_id="gone")


def test_unknown_phase_and_missing_session_are_explained() -> None:
    """The message shows the phases that exist, or how to name a session."""
    with djinn.session(), pytest.raises(ValueError, match="'SLEEP' is unknown; signal one of IO_WAIT, COMPUTE"):
        djinn.signal_phase("SLEEP")
    with pytest.raises(ValueError, match="No session is current"):
        djinn.signal_phase("IO_WAIT")


def test_waiting_sessions_are_swapped_and_come_back() -> None:
    """The elements survive, the checksum is the same before, while and after."""
    with djinn.session() as session:
        tensor = torch.arange(100_000.0).to(DEVICE)
        tensor.add_(1)
        expected, checksum = tensor.cpu(), session.checksum()
        evictions = djinn.stats()["scheduler"]["evictions"]
        djinn.signal_phase("IO_WAIT", estimated_resume_ms=5.0)
        _await_eviction(evictions)
        assert session.checksum() == checksum
        djinn.signal_phase("COMPUTE")
        assert session.checksum() == checksum
        assert torch.equal(tensor.cpu(), expected)


def test_an_operation_that_brings_its_session_back_says_how_long_that_took() -> None:
    """As a plan does; the next one, which finds it there, says nothing."""
    with djinn.session():
        tensor = torch.arange(100_000.0).to(DEVICE)
        tensor.add_(1)
        evictions = djinn.stats()["scheduler"]["evictions"]
        djinn.signal_phase("IO_WAIT", estimated_resume_ms=5.0)
        _await_eviction(evictions)
        tensor.add_(1)
        restored = djinn.last_call()
        tensor.add_(1)
        assert restored.restore_us > 0
        assert djinn.last_call().restore_us == 0


def test_a_plan_ends_with_the_session_that_its_weights_lie_in() -> None:
    """Whoever has their memory next is not read."""
    x = torch.ones(2, 300).to(DEVICE)
    with torch.no_grad():
        with djinn.session("of weights"):
            module = torch.nn.Linear(300, 300, device=DEVICE)
            inside = module(x).cpu()
            assert torch.equal(module(x).cpu(), inside)
        with djinn.session():
            torch.full((600, 600), 7.0, device=DEVICE).sum().item()
            with pytest.raises(djinn.SessionClosedError, match="'of weights' was closed"):
                module(x)


def test_a_plan_brings_back_the_session_that_its_weights_lie_in() -> None:
    """Although neither its arguments nor its caller are in it."""
    x = torch.ones(2, 300).to(DEVICE)
    with torch.no_grad(), djinn.session("of weights"):
        module = torch.nn.Linear(300, 300, device=DEVICE)
        with djinn.session():
            inside = module(x).cpu()
            evictions = djinn.stats()["scheduler"]["evictions"]
            djinn.signal_phase("IO_WAIT", estimated_resume_ms=5.0, session_id="of weights")
            _await_eviction(evictions)
            assert torch.equal(module(x).cpu(), inside)
            assert djinn.last_call().planned


def test_sessions_nest() -> None:
    """The inner session takes new tensors, the outer one continues afterwards."""
    with djinn.session("outer"):
        first = torch.ones(4, device=DEVICE)
        with djinn.session("inner"):
            second = torch.full((4,), 2.0, device=DEVICE)
            assert (first + second).tolist() == [3] * 4
        assert (first + 1).tolist() == [2] * 4
        with pytest.raises(djinn.SessionClosedError, match="'inner'"):
            second.cpu()


def test_tasks_are_in_sessions_of_their_own() -> None:
    """Those of one event loop take turns in one thread; what one makes goes to its own arena, and stays for as long."""

    async def agent(name: str, number: int, others_end: asyncio.Event, *, is_last: bool) -> None:
        with djinn.session(name, arena_mb=1):
            await asyncio.sleep(0)
            made = torch.full((8,), float(number), device=DEVICE).add_(1)
            if is_last:
                await others_end.wait()
            assert made.tolist() == [number + 1] * 8
            djinn.signal_phase("IO_WAIT")
        others_end.set()

    async def agents() -> None:
        end = asyncio.Event()
        await asyncio.gather(agent("first", 1, end, is_last=True), agent("second", 2, end, is_last=False))

    asyncio.run(agents())
    assert djinn.stats()["memory"]["data"]["num_sessions"] == 0
    assert current_session() is None


def test_what_began_inside_a_session_goes_on_without_it() -> None:
    """Tasks and threads that were given its context, and run on after it was left."""

    async def outlive(is_left: asyncio.Event) -> str | None:
        await is_left.wait()
        assert (torch.ones(2, device=DEVICE) + 1).tolist() == [2, 2]
        return current_session()

    async def start() -> None:
        is_left = asyncio.Event()
        with djinn.session("outer"):
            with djinn.session("inner"):
                task = asyncio.create_task(outlive(is_left))
                assert await asyncio.to_thread(current_session) == "inner"
            is_left.set()
            assert await task == "outer"

    asyncio.run(start())


def test_a_member_of_an_enumeration_may_name_a_session() -> None:
    """By its value, as it compares."""

    class Name(str, enum.Enum):  # noqa: UP042 - whose text is not its value
        FIRST = "first"

    with djinn.session(Name.FIRST):
        assert current_session() == "first"
        djinn.signal_phase("IO_WAIT", session_id="first")


def test_sessions_may_be_left_in_any_order() -> None:
    """Whoever leaves the outer one first stays in the inner one, and is then in none."""
    with contextlib.ExitStack() as outer, contextlib.ExitStack() as inner:
        outer.enter_context(djinn.session("outer"))
        inner.enter_context(djinn.session("inner"))
        outer.close()
        assert current_session() == "inner"
        assert (torch.ones(2, device=DEVICE) + 1).tolist() == [2, 2]
        inner.close()
        assert current_session() is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _: djinn.session(5), "session_id is 5; pass a session's name"),  # type: ignore[arg-type]
        (lambda _: djinn.session("s", arena_mb="4"), "arena_mb is '4'; pass a number of MiB"),  # type: ignore[arg-type]
        (lambda _: djinn.signal_phase(None), "phase is None; pass 'IO_WAIT' or 'COMPUTE'"),  # type: ignore[arg-type]
        (lambda opened: djinn.signal_phase("IO_WAIT", opened), "session_id is <djinn.*; pass a session's name"),
        (lambda _: djinn.signal_phase("IO_WAIT", None, "9"), "is '9'; pass a number of milliseconds"),  # type: ignore[arg-type]
        (lambda _: djinn.ping(True), "busy_us is True; pass a number of microseconds"),
    ],
)
def test_a_value_of_another_type_is_refused_and_costs_nothing(call: Callable[[Any], Any], message: str) -> None:
    """The server would hang up on such a message, and with its only connection this process would lose all that it has."""
    with djinn.session() as opened:
        kept = torch.ones(2, device=DEVICE) + 1
        with pytest.raises(TypeError, match=message):
            call(opened)
        assert kept.tolist() == [2, 2]


def test_numbers_may_be_of_numpy() -> None:
    """As sizes and times often are."""
    with djinn.session(arena_mb=np.int64(2)) as session:
        assert session.arena_bytes == 2 * 1024 * 1024
        djinn.signal_phase("COMPUTE", estimated_resume_ms=np.float32(1))
    assert djinn.ping(np.int32(10)) >= 10


@pytest.mark.parametrize("arena_mb", [0, -1, 1e30, float("inf"), float("nan")])
def test_an_arena_of_no_size_is_refused(arena_mb: float) -> None:
    """The message shows what was passed."""
    with pytest.raises(
        ValueError, match=re.escape(f"An arena of {float(arena_mb)} MiB cannot be made; pass a positive size")
    ):
        djinn.session(arena_mb=arena_mb)  # type: ignore[arg-type]


def test_a_session_name_is_used_once_at_a_time() -> None:
    """A name in use is refused and free again after the end."""
    with djinn.session("same"), pytest.raises(ValueError, match="'same' has an arena already"):
        djinn.session("same")
    djinn.session("same").close()


def test_operators_may_resize_empty_tensors() -> None:
    """Factories that fill an empty tensor work inside a session too."""
    with djinn.session():
        assert torch.arange(5, device=DEVICE).tolist() == [0, 1, 2, 3, 4]
        out = torch.empty(0, device=DEVICE)
        torch.add(torch.ones(3, device=DEVICE), 1, out=out)
        assert out.tolist() == [2, 2, 2]


def test_memory_that_a_plans_call_frees_is_there_for_what_it_creates() -> None:
    """Freeing waits for the reply, but never makes a call fail."""
    module = torch.nn.ReLU().to(DEVICE)
    module.register_buffer("kept", torch.zeros(1).to(DEVICE))
    with torch.no_grad(), djinn.session(arena_mb=1):
        for _ in range(4):
            x = torch.empty(600 * 1024, dtype=torch.uint8, device=DEVICE)
            assert module(x).shape == x.shape
            del x


def test_a_ping_takes_as_long_as_it_was_asked_to() -> None:
    """The rest of its time is what a remote call costs at least."""
    assert djinn.ping() > 0
    assert djinn.ping(3000.0) >= 3000.0
    for busy_us in (-1.0, float("nan"), 1e9):
        with pytest.raises(ValueError, match="ask for 0 to 1000000"):
            djinn.ping(busy_us)
