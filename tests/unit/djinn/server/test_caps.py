"""What one client may hold at most: sessions, tensors and plans; others are not bounded by it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import djinn
from djinn.client.client import Client
from djinn.config import Config
from djinn.core import DTYPE_CODES, ValueRef
from djinn.errors import UnknownPlanError
from djinn.protocol import messages as m
from djinn.server import handler, plan_store, table
from embedded import server_here
from support import DEVICE

_FLOAT = DTYPE_CODES[torch.float32]
_X = ((2,), (1,), _FLOAT, 0, 0)
_Y = ((2,), (1,), _FLOAT, 0, 1)


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where a server listens that lets each client have three of everything."""
    monkeypatch.setattr(handler, "MAX_SESSIONS", 3)
    monkeypatch.setattr(table, "MAX_TENSORS", 3)
    monkeypatch.setattr(plan_store, "MAX_PLANS", 3)
    with server_here(tmp_path) as address:
        yield address


@pytest.fixture
def clients(address: str) -> Iterator[tuple[Client, Client]]:
    """Two clients of that server."""
    pair = Client(address, Config()), Client(address, Config())
    yield pair
    for client in pair:
        client.close()


def _creation(tensor_id: int) -> m.Creation:
    return m.Creation(tensor_id, (2,), (1,), _FLOAT, None, b"\0" * 8)


def test_a_client_has_so_many_sessions(clients: tuple[Client, Client]) -> None:
    """One that is closed makes room."""
    greedy, other = clients
    for number in range(3):
        greedy.request(m.OpenSession(opened_id=f"{number}", arena_bytes=1 << 20))
    with pytest.raises(djinn.OutOfMemoryError, match="3 sessions open, as many as it may"):
        greedy.request(m.OpenSession(opened_id="3", arena_bytes=1 << 20))
    other.request(m.OpenSession(opened_id="3", arena_bytes=1 << 20))
    greedy.request(m.CloseSession(closed_id="0"))
    greedy.request(m.OpenSession(opened_id="3", arena_bytes=1 << 20))


def test_a_client_has_so_many_tensors(clients: tuple[Client, Client]) -> None:
    """One that is freed makes room."""
    greedy, other = clients
    for number in range(3):
        greedy.request(m.Ping(busy_us=0.0, creations=[_creation(number)]))
    with pytest.raises(djinn.OutOfMemoryError, match="holds 3 of the 3 tensors"):
        greedy.request(m.Ping(busy_us=0.0, creations=[_creation(3)]))
    other.request(m.Ping(busy_us=0.0, creations=[_creation(3)]))
    greedy.request(m.Ping(busy_us=0.0, frees=[0], creations=[_creation(3)]))


def _make_plan(client: Client) -> int:
    plan = m.MakePlan(
        values=[_X, _Y],
        storage_bytes=[8, 8],
        nodes=[("aten.add.Tensor", [ValueRef(0), ValueRef(0)], {}, [1], None)],
        outputs=[1],
        num_inputs=1,
        weight_ids=[],
        constants=[],
    )
    return int(client.request(plan)[0].plan_id)


def _is_held(client: Client, plan_id: int) -> bool:
    base_id = client.new_ids()
    try:
        client.request(m.ExecutePlan(plan_id=plan_id, input_ids=[1], base_id=base_id, creations=[_creation(1)]))
    except UnknownPlanError:
        return False
    client.request(m.Ping(busy_us=0.0, frees=[base_id]))
    return True


@pytest.mark.parametrize("bounded_by", ["number", "bytes"])
def test_a_client_loses_the_plans_that_it_used_least_recently(
    clients: tuple[Client, Client], bounded_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it has more than it may, by number or by what they hold."""
    greedy, other = clients
    first, second, third = (_make_plan(greedy) for _ in range(3))
    others = _make_plan(other)
    assert _is_held(greedy, first)
    if bounded_by == "bytes":
        monkeypatch.setattr(plan_store, "MAX_PLANS", 100)
        held_bytes = greedy.request(m.Stats())[0].values["client"]["plan_bytes"]
        monkeypatch.setattr(plan_store, "MAX_HELD_BYTES", held_bytes)
    fourth = _make_plan(greedy)
    assert [_is_held(greedy, plan_id) for plan_id in (first, second, third, fourth)] == [True, False, True, True]
    assert _is_held(other, others)


def test_results_have_to_have_room_before_they_are_computed(clients: tuple[Client, Client]) -> None:
    """A plan whose results would be too many does not run; the connection stays."""
    greedy, _ = clients
    plan_id = _make_plan(greedy)
    greedy.request(m.Ping(busy_us=0.0, creations=[_creation(1), _creation(2), _creation(3)]))
    with pytest.raises(djinn.OutOfMemoryError, match="holds 3 of the 3 tensors"):
        greedy.request(m.ExecutePlan(plan_id=plan_id, input_ids=[1], base_id=9))
    greedy.request(m.Ping(busy_us=0.0, frees=[3]))
    greedy.request(m.ExecutePlan(plan_id=plan_id, input_ids=[1], base_id=9))


@pytest.mark.parametrize("is_weight", [True, False])
def test_what_cannot_be_named_is_given_back(clients: tuple[Client, Client], is_weight: bool) -> None:
    """An upload under a name that is in use, again and again, takes no memory."""
    liar, _ = clients
    liar.request(m.OpenSession(opened_id="s", arena_bytes=1 << 20))
    upload = {"base_id": 1, "shape": (1024,), "dtype_code": _FLOAT, "is_weight": is_weight, "session_id": "s"}
    liar.request(m.Upload(**upload), bytes(4096))
    before = liar.request(m.Stats())[0].values["memory"]
    for number in range(3):
        with pytest.raises(djinn.PlanError, match="exists already"):
            liar.request(m.Upload(**upload), bytes([number]) * 4096)
    assert liar.request(m.Stats())[0].values["memory"] == before
    liar.request(m.Audit())


def test_a_lost_plan_is_made_again_unnoticed(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module is called with one shape more than the server keeps plans."""
    monkeypatch.setattr(table, "MAX_TENSORS", 100)
    djinn.init(address)
    module = torch.nn.Linear(2, 2).requires_grad_(False)
    remote = copy.deepcopy(module).to(DEVICE)
    with torch.no_grad():
        for rows in (1, 2, 3, 4, 1, 2, 3, 4):
            value = torch.randn(rows, 2)
            assert torch.equal(remote(value.to(DEVICE)).cpu(), module(value))
    assert djinn.stats()["client"]["num_plans"] == 3
    djinn.shutdown()
