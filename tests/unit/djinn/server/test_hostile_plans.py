"""Plans that lie get a typed error; the server lives, and other clients notice nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import djinn
from djinn.client import runtime
from djinn.client.client import Client
from djinn.config import Config
from djinn.core import DTYPE_CODES, ValueRef
from djinn.protocol import messages as m
from support import DEVICE, operator_call

pytestmark = pytest.mark.usefixtures("runtime")
_FLOAT = DTYPE_CODES[torch.float32]
_X = ((2,), (1,), _FLOAT, 0, 0)
_Y = ((2,), (1,), _FLOAT, 0, 1)


@pytest.fixture
def liar() -> Iterator[Client]:
    """A second client of the running server."""
    client = Client(str(runtime.current_client()._address), Config())
    yield client
    client.close()


def _plan(**changes: Any) -> m.MakePlan:
    """Return a sound plan, `y = x + x`, with some fields changed."""
    fields: dict[str, Any] = {
        "values": [_X, _Y],
        "storage_bytes": [8, 8],
        "nodes": [("aten.add.Tensor", [ValueRef(0), ValueRef(0)], {}, [1], None)],
        "outputs": [1],
        "num_inputs": 1,
        "weight_ids": [],
        "constants": [],
    }
    return m.MakePlan(**{**fields, **changes})


def _node(name: str, *operands: Any, outputs: tuple[int, ...] = (1,)) -> list[Any]:
    return [(name, list(operands), {}, list(outputs), None)]


_LIES: dict[str, Callable[[], m.MakePlan]] = {
    "a value beyond its storage": lambda: _plan(storage_bytes=[8, 4]),
    "an offset beyond its storage": lambda: _plan(values=[_X, ((2,), (1,), _FLOAT, 1, 1)]),
    "strides beyond their storage": lambda: _plan(values=[_X, ((2,), (1 << 40,), _FLOAT, 0, 1)]),
    "a negative size": lambda: _plan(values=[_X, ((-2,), (1,), _FLOAT, 0, 1)]),
    "a negative stride": lambda: _plan(values=[_X, ((2,), (-1,), _FLOAT, 0, 1)]),
    "a negative offset": lambda: _plan(values=[_X, ((2,), (1,), _FLOAT, -1, 1)]),
    "sizes without strides": lambda: _plan(values=[_X, ((2,), (), _FLOAT, 0, 1)]),
    "an unknown dtype": lambda: _plan(values=[_X, ((2,), (1,), 99, 0, 1)]),
    "a storage that does not exist": lambda: _plan(values=[_X, ((2,), (1,), _FLOAT, 0, 7)]),
    "a storage of impossible size": lambda: _plan(storage_bytes=[8, 1 << 60]),
    "a result that no memory holds": lambda: _plan(storage_bytes=[8, 1 << 40]),
    "a negative storage": lambda: _plan(storage_bytes=[8, -8]),
    "more inputs than values": lambda: _plan(num_inputs=3),
    "a value that is read before it is computed": lambda: _plan(nodes=_node("aten.relu.default", ValueRef(1))),
    "a value that does not exist": lambda: _plan(nodes=_node("aten.relu.default", ValueRef(9))),
    "a result that does not exist": lambda: _plan(nodes=_node("aten.relu.default", ValueRef(0), outputs=(5,))),
    "an output that is never computed": lambda: _plan(nodes=[]),
    "an output that does not exist": lambda: _plan(outputs=[4]),
    "an operator that does not exist": lambda: _plan(nodes=_node("aten.no_such_operator.default", ValueRef(0))),
    "an operator outside ATen": lambda: _plan(nodes=_node("prim.device.default", ValueRef(0))),
    "an operator that reads files": lambda: _plan(nodes=_node("aten.from_file.default", "/etc/passwd", outputs=(1,))),
    "an operator that moves storages": lambda: _plan(nodes=_node("aten.set_.source_Tensor", ValueRef(0), ValueRef(0))),
    "more weights than inputs": lambda: _plan(weight_ids=[1, 2]),
    "a weight that does not exist": lambda: _plan(weight_ids=[12345]),
    "a constant that is too short": lambda: _plan(constants=[(1, b"\0")]),
    "a constant that does not exist": lambda: _plan(constants=[(9, b"\0" * 8)]),
}


def _assert_others_notice_nothing() -> None:
    assert (torch.ones(3, device=DEVICE) + 1).tolist() == [2, 2, 2]


@pytest.mark.parametrize("lie", _LIES)
def test_a_plan_that_lies_is_refused(liar: Client, lie: str) -> None:
    """With an error of the runtime's own, and nothing is kept of it."""
    with pytest.raises(djinn.DjinnError):
        liar.request(_LIES[lie]())
    assert liar.request(m.Stats())[0].values["client"]["num_plans"] == 0
    _assert_others_notice_nothing()


def test_a_sound_plan_is_taken(liar: Client) -> None:
    """Or the refusals above would prove nothing."""
    reply, _ = liar.request(_plan())
    x = m.Creation(1, (2,), (1,), _FLOAT, None, torch.tensor([1.0, 2.0]).numpy().tobytes())
    _, payload = liar.request(
        m.ExecutePlan(plan_id=reply.plan_id, input_ids=[1], base_id=8, creations=[x], wants_result=True)
    )
    assert torch.frombuffer(bytearray(payload), dtype=torch.float32).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("creation", "input_ids"),
    [
        (m.Creation(1, (4,), (1,), _FLOAT, None), [1]),
        (m.Creation(1, (2,), (2,), _FLOAT, None), [1]),
        (m.Creation(1, (2,), (1,), DTYPE_CODES[torch.int64], None), [1]),
        (m.Creation(1, (2,), (1,), _FLOAT, None), []),
        (m.Creation(1, (2,), (1,), _FLOAT, None), [1, 1]),
        (m.Creation(1, (2,), (1,), _FLOAT, None), [77]),
        (m.Creation(1, (2,), (1,), _FLOAT, None, b"\0" * 7), [1]),
        (m.Creation(1, (1 << 50,), (1,), _FLOAT, None), [1]),
        (m.Creation(1, (-1,), (1,), _FLOAT, None), [1]),
    ],
    ids=["size", "stride", "dtype", "too few", "too many", "unknown", "content", "impossible", "negative"],
)
def test_arguments_that_were_not_planned_for_are_refused(
    liar: Client, creation: m.Creation, input_ids: list[int]
) -> None:
    """A plan's buffers have the sizes of its trace."""
    reply, _ = liar.request(_plan())
    with pytest.raises((djinn.DjinnError, RuntimeError, ValueError)):
        liar.request(m.ExecutePlan(plan_id=reply.plan_id, input_ids=input_ids, base_id=8, creations=[creation]))
    _assert_others_notice_nothing()


_TWO = torch.tensor([1.0, 2.0]).numpy().tobytes()
_TWO_INPUTS = {
    "values": [_X, _Y, ((2,), (1,), _FLOAT, 0, 2)],
    "storage_bytes": [8, 8, 8],
    "nodes": _node("aten.add.Tensor", ValueRef(0), ValueRef(1), outputs=(2,)),
    "outputs": [2],
    "num_inputs": 2,
}
_WRITING = {
    "values": [_X, _X, _Y],
    "nodes": [
        *_node("aten.add_.Tensor", ValueRef(0), ValueRef(0)),
        *_node("aten.relu.default", ValueRef(1), outputs=(2,)),
    ],
    "outputs": [2],
}


def test_sound_elements_are_taken_with_a_call(liar: Client) -> None:
    """Or the refusals below would prove nothing."""
    reply, _ = liar.request(_plan())
    for _ in range(2):
        request = m.ExecutePlan(plan_id=reply.plan_id, input_ids=[], base_id=8, passed=[(0, _TWO)], wants_result=True)
        _, payload = liar.request(request)
        assert torch.frombuffer(bytearray(payload), dtype=torch.float32).tolist() == [2, 4]
        liar.request(m.Ping(busy_us=0, frees=[8]))


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({}, [(0, b"")]),
        ({}, [(0, _TWO[:-1])]),
        ({}, [(0, _TWO + _TWO)]),
        ({}, [(1, _TWO)]),
        ({}, [(-1, _TWO)]),
        ({}, [(1 << 40, _TWO)]),
        ({}, [(0, _TWO), (1, _TWO)]),
        ({}, []),
        ({"outputs": [0]}, [(0, _TWO)]),
        (_WRITING, [(0, _TWO)]),
        ({"values": [((2,), (2,), _FLOAT, 0, 0), _Y], "storage_bytes": [12, 8]}, [(0, _TWO)]),
        ({"values": [((2,), (1,), _FLOAT, 48, 0), _Y], "storage_bytes": [200, 8]}, [(0, b"A" * 200)]),
        ({"values": [((0,), (1,), _FLOAT, 64, 0), _Y], "storage_bytes": [256, 8]}, [(0, b"A" * 256)]),
        ({"values": [((8192,), (1,), _FLOAT, 0, 0), _Y], "storage_bytes": [32768, 8]}, [(0, b"A" * 32768)]),
        (_TWO_INPUTS, [(1, _TWO), (0, _TWO)]),
        (_TWO_INPUTS, [(0, _TWO), (0, _TWO)]),
        (_TWO_INPUTS, [(1, _TWO), (1, _TWO)]),
    ],
    ids=[
        "none",
        "too short",
        "too long",
        "no argument",
        "negative",
        "far",
        "too many",
        "too few",
        "returned",
        "written",
        "strided",
        "with an offset",
        "empty with an offset",
        "large",
        "descending",
        "twice the first",
        "twice the last",
    ],
)
def test_elements_that_were_not_planned_for_are_refused(
    liar: Client, changes: dict[str, Any], passed: list[tuple[int, bytes]]
) -> None:
    """They are written to a place that belongs to the plan, of exactly their size, which nobody sees after the call."""
    reply, _ = liar.request(_plan(**changes))
    with pytest.raises(djinn.PlanError):
        liar.request(m.ExecutePlan(plan_id=reply.plan_id, input_ids=[], base_id=8, passed=passed))
    _assert_others_notice_nothing()


def test_tensors_and_plans_of_others_cannot_be_named(liar: Client) -> None:
    """Identifiers mean something to the client that made them alone."""
    mine = torch.ones(4, device=DEVICE) + 1
    with pytest.raises(djinn.PlanError, match="unknown"):
        liar.request(m.Download(tensor_id=mine.handle.tensor_id))
    with pytest.raises(djinn.UnknownPlanError):
        liar.request(m.ExecutePlan(plan_id=1, input_ids=[], base_id=8))
    assert mine.tolist() == [2, 2, 2, 2]


def test_sessions_and_tensors_of_others_cannot_be_touched(liar: Client) -> None:
    """Neither written to, signalled, digested, closed nor freed, nor computed into: names mean the liar's own."""
    with djinn.session("mine", arena_mb=1) as session:
        mine = torch.ones(4, device=DEVICE) + 1
        checksum, tensor_id = session.checksum(), mine.handle.tensor_id
        trials: list[m.Request] = [
            operator_call("aten.mul_.Scalar", [ValueRef(0), 0.0], 8, [tensor_id]),
            m.Signal(signalled_id="mine", phase="IO_WAIT", estimated_resume_ms=None),
            m.Checksum(checked_id="mine"),
            m.CloseSession(closed_id="mine"),
            m.Upload(base_id=9, shape=(1,), dtype_code=_FLOAT, is_weight=False, session_id="mine"),
        ]
        for trial in trials:
            with pytest.raises(djinn.DjinnError, match="unknown|not open"):
                liar.request(trial, b"\0" * 4 if isinstance(trial, m.Upload) else b"")
        liar.free_later(tensor_id)
        liar.request(m.Stats())
        assert session.checksum() == checksum
        assert mine.tolist() == [2, 2, 2, 2]


_SHARED = torch.ones(1000)
_SHARED_VALUE = ((1000,), (1,), _FLOAT, 0)


@pytest.fixture
def shared_weights(liar: Client) -> tuple[Callable[[], list[float]], int]:
    """What reads this process's weight, and the identifier of an equal one of the liar's, which the server stores once."""
    mine, others = runtime.current_client(), liar.new_ids()
    own = mine.new_ids()
    for client, tensor_id in ((mine, own), (liar, others)):
        upload = m.Upload(base_id=tensor_id, shape=(1000,), dtype_code=_FLOAT, is_weight=True)
        client.request(upload, memoryview(_SHARED.numpy()).cast("B"))

    def read() -> list[float]:
        _, content = mine.request(m.Download(tensor_id=own))
        return torch.frombuffer(bytearray(content), dtype=torch.float32).unique().tolist()

    return read, others


@pytest.mark.parametrize("operator", ["aten.add.Tensor", "aten.sub.Tensor", "aten.mul.Tensor", "aten.div.Tensor"])
def test_no_call_writes_through_an_argument_that_its_schema_lacks(
    liar: Client, shared_weights: tuple[Callable[[], list[float]], int], operator: str
) -> None:
    """Torch's own functions would take `out=`, and nobody would know that a weight is written to that others share."""
    read, weight = shared_weights
    refs: list[Any] = [ValueRef(0), ValueRef(1)]
    with pytest.raises(djinn.PlanError, match="does not take these arguments"):
        liar.request(operator_call(operator, refs, liar.new_ids(), [weight] * 3, out=ValueRef(2)))
    assert read() == [1.0]


@pytest.mark.parametrize("operator", ["aten.add.Tensor", "aten.mul.Tensor"])
def test_no_plan_writes_through_an_argument_that_its_schema_lacks(
    liar: Client, shared_weights: tuple[Callable[[], list[float]], int], operator: str
) -> None:
    """Likewise: such a plan is not made."""
    read, weight = shared_weights
    with pytest.raises(djinn.PlanError, match="does not take these arguments"):
        liar.request(
            m.MakePlan(
                values=[(*_SHARED_VALUE, 0), (*_SHARED_VALUE, 1)],
                storage_bytes=[4000, 4000],
                nodes=[(operator, [ValueRef(0), ValueRef(0)], {"out": ValueRef(0)}, [1], None)],
                outputs=[1],
                num_inputs=1,
                weight_ids=[weight],
                constants=[],
            )
        )
    assert read() == [1.0]


@pytest.mark.parametrize("operator", ["aten.mul_.Tensor", "aten._foreach_mul_.Scalar", "aten.add.out"])
def test_a_call_that_writes_to_a_shared_weight_leaves_the_others(
    liar: Client, shared_weights: tuple[Callable[[], list[float]], int], operator: str
) -> None:
    """The writer gets a copy of its own, in place, in a list or through `out=`."""
    read, weight = shared_weights
    args, kwargs = {
        "aten.mul_.Tensor": ([ValueRef(0), 3.0], {}),
        "aten._foreach_mul_.Scalar": ([[ValueRef(0)], 3.0], {}),
        "aten.add.out": ([ValueRef(0), 2.0], {"out": ValueRef(1)}),
    }[operator]
    tensor_ids = [weight] * (2 if kwargs else 1)
    liar.request(operator_call(operator, args, liar.new_ids(), tensor_ids, **kwargs))
    assert read() == [1.0]
    _, content = liar.request(m.Download(tensor_id=weight))
    assert torch.frombuffer(bytearray(content), dtype=torch.float32).unique().tolist() == [3.0]
