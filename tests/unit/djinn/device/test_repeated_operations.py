"""Results of a repeated operation are made before the server describes them; what it describes counts."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import djinn
from djinn.client import runtime
from djinn.device import operations
from djinn.protocol import messages as m
from djinn.protocol.messages import Described
from support import DEVICE, run_by_turns, tensors_in

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(autouse=True)
def _nothing_expected() -> Iterator[None]:
    operations._expected.clear()
    yield
    operations._expected.clear()


def _twice(program: Callable[[torch.Tensor], Any], one: torch.Tensor, other: torch.Tensor) -> None:
    """Assert that a program gives on the device what it gives on the CPU, first and then with other operands."""
    for host in (one, other, one):
        found, expected = tensors_in(program(host.to(DEVICE))), tensors_in(program(host.clone()))
        assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in expected]
        assert [tensor.stride() for tensor in found] == [tensor.stride() for tensor in expected]
        for left, right in zip(found, expected, strict=True):
            assert torch.equal(left.cpu(), right)


_MATRIX, _OTHER = torch.arange(6.0).view(2, 3) - 2, torch.tensor([[1.0, 0.0, -7.0], [0.0, 0.0, 0.5]])


@pytest.mark.parametrize(
    "program",
    [
        lambda x: x + x,
        lambda x: x.t() @ x,
        lambda x: x.add_(1),
        lambda x: x.split(2, dim=1),
        lambda x: torch.cat([x] * 20),
        lambda x: torch.add(x, 1, out=torch.empty(0, device=x.device)),
        lambda x: torch.add(x, 1, out=torch.empty(2, 3, device=x.device)),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.unique(),
        lambda x: [x * 0.0, x * -0.0, x * 2, x * True],
        lambda x: [x.int() + 1, x.int() + 1.0, x.int() + True],
        lambda x: x.sort(dim=1),
        lambda x: x.resize_(2, 2) + 1,
    ],
)
@pytest.mark.parametrize("other", [_OTHER, _OTHER[:, :2], _OTHER.double()])
def test_a_repeated_operation_gives_what_the_cpu_gives(
    program: Callable[[torch.Tensor], Any], other: torch.Tensor
) -> None:
    """With the same metadata and others: views, lists, results of operands' memory or of a size that data decide."""
    _twice(program, _MATRIX, other)


def test_signs_of_zeros_are_distinguished() -> None:
    """The calls are equal in Python, but not the same."""
    x = torch.ones(1, device=DEVICE)
    assert [(x * zero).signbit().item() for zero in (0.0, -0.0, 0.0, -0.0)] == [False, True, False, True]


def test_a_default_dtype_counts() -> None:
    """The same call makes another result under it."""
    x = torch.ones(2, dtype=torch.int64, device=DEVICE)
    assert (x / 3).dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert (x / 3).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert (x / 3).dtype == torch.float32


def test_an_operand_that_is_returned_is_itself() -> None:
    """Every time."""
    x = torch.zeros(3, device=DEVICE)
    assert all(x.add_(1) is x for _ in range(3))
    assert x.tolist() == [3.0] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        [["new", [5], [1], 0, 0]],
        [["new", [3], [1], 0, 0], ["new", [3], [1], 0, 0]],
        [["same", 0, [3], [1], 0, 0]],
        [None],
        [],
    ],
)
def test_what_was_expected_in_vain_is_replaced(wrong: list[Any]) -> None:
    """By what the server describes; that stays when the other goes, and is expected from then on."""
    x = torch.arange(3.0).to(DEVICE)
    expected = x * 2
    (key,) = operations._expected
    right = operations._expected[key]
    operations._expected[key] = wrong
    found = x * 2
    gc.collect()
    djinn.stats()  # frees what was let go of
    assert found is not x
    assert found.tolist() == expected.tolist() == [0.0, 2.0, 4.0]
    assert x.tolist() == [0.0, 1.0, 2.0]
    assert operations._expected[key] == right


def test_results_are_made_before_they_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the caller would wait for that, too."""
    x = torch.ones(2, device=DEVICE)
    x.exp()
    made: list[Any] = []
    counted = operations._results
    monkeypatch.setattr(operations, "_results", lambda *args: made.append("results") or counted(*args))
    client = runtime.current_client()
    receive = client.receive

    def received(*args: Any) -> Any:
        reply, payload = receive(*args)
        if isinstance(reply, Described):
            made.append("described")
        return reply, payload

    monkeypatch.setattr(client, "receive", received)
    x.exp()
    assert made == ["results", "described"]


def test_an_expected_operation_that_fails_leaves_nothing() -> None:
    """Its results were made already, on this side."""
    x = torch.eye(2, device=DEVICE)
    singular = torch.zeros(2, 2, device=DEVICE) + 0
    torch.linalg.inv(x)
    gc.collect()
    before = djinn.stats()["client"]["num_tensors"]
    for _ in range(3):
        with pytest.raises(RuntimeError, match="singular"):
            torch.linalg.inv(singular)
    gc.collect()
    assert djinn.stats()["client"]["num_tensors"] <= before
    assert torch.linalg.inv(x).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_values_that_depend_on_elements_are_not_expected() -> None:
    """Nor sizes that do."""
    x = torch.ones(2, device=DEVICE)
    positive = x > 0
    operations._expected.clear()
    x.equal(x)
    x.nonzero()
    x[positive]
    assert not operations._expected


def test_few_calls_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first; a long call is not remembered at all."""
    monkeypatch.setattr(operations, "_MAX_EXPECTED", 2)
    x = torch.ones(2, device=DEVICE) + 0
    for number in range(4):
        x * number
    assert [b"mul" in call for call, *_ in operations._expected] == [True, True]
    made: list[int] = []
    counted = operations._results
    monkeypatch.setattr(operations, "_results", lambda *args: made.append(1) or counted(*args))
    x * 3
    assert made == [1], "the last call was expected"
    x * 0
    assert made == [1, 1], "the first one was expected once, as if it were not the oldest"
    monkeypatch.setattr(operations, "_MAX_EXPECTED_BYTES", 8)
    last = list(operations._expected)
    x * 7
    assert list(operations._expected) == last


def test_threads_expect_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for fewer calls than are made at once."""
    monkeypatch.setattr(operations, "_MAX_EXPECTED", 2)

    def work(number: int) -> None:
        x = torch.full((number + 1,), float(number), device=DEVICE)
        for step in range(30):
            assert (x + step % 5).tolist() == [float(number + step % 5)] * (number + 1)

    run_by_turns(4, work)


def test_a_repeated_call_is_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By which the server knows it again, whatever tensors it is made on."""
    sent: list[m.RunOperator] = []
    client = runtime.current_client()
    send = client.send

    def noted(message: m.Request) -> Any:
        if isinstance(message, m.RunOperator):
            sent.append(message)
        return send(message)

    x, y = torch.ones(2, device=DEVICE) + 0, torch.ones(3, device=DEVICE) + 0
    monkeypatch.setattr(client, "send", noted)
    torch.add(x, x, alpha=2)
    torch.add(y, y, alpha=2)
    assert sent[0].call == sent[1].call
    assert sent[0].tensor_ids != sent[1].tensor_ids


def test_many_results_are_not_remembered() -> None:
    """Whoever iterates over tensors of many lengths would keep a description of each element."""
    for num_results in (operations._MAX_EXPECTED_OUTPUTS, operations._MAX_EXPECTED_OUTPUTS + 1):
        torch.ones(num_results, device=DEVICE).unbind(0)
    remembered = [outputs for key, outputs in operations._expected.items() if b"unbind" in key[0]]
    assert [len(outputs) for outputs in remembered] == [operations._MAX_EXPECTED_OUTPUTS]


def test_what_changes_an_operands_metadata_is_not_done_before_the_server_has() -> None:
    """A call like one that resized its operand fails: the operand is as it was."""

    def resized(length: int) -> torch.Tensor:
        given = torch.ones(2, device=DEVICE) + 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather have no elements in what it resizes
            torch.linspace(0, 1, length, out=given)
        return given

    assert resized(3).shape == (3,)
    given = torch.ones(2, device=DEVICE) + 0
    client = runtime.current_client()

    def lost(*_: object) -> None:
        assert given.shape == (2,), "it was resized before the server has answered"
        raise RuntimeError("no answer")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="no answer"):
        patch.setattr(client, "receive", lost)
        torch.linspace(0, 1, 3, out=given)
    assert given.shape == (2,)


def test_an_operation_goes_to_the_host_where_that_is_named() -> None:
    """Also after one without a device, which the same operator ran here."""
    x = torch.ones(2, device=DEVICE)
    assert torch.zeros_like(x).device == torch.device(DEVICE)
    assert torch.zeros_like(x, device="cpu").device == torch.device("cpu")
    assert torch.ops.aten.zeros_like.default(x).device == torch.device(DEVICE)
    assert torch.ops.aten.zeros_like.default(x, device=torch.device("cpu")).device == torch.device("cpu")


def test_a_misplaced_operand_is_refused_before_anything_is_done() -> None:
    """By the operator's own name, also where it changes the metadata of its first operand."""
    host, remote = torch.ones(4), torch.ones(2, device=DEVICE) + 0
    with pytest.raises(RuntimeError, match=r"resize_as_"):
        host.resize_as_(remote)
    tensor_id = remote.handle.tensor_id
    with pytest.raises(RuntimeError, match=r"resize_as_"):
        remote.resize_as_(host)
    assert remote.handle.tensor_id == tensor_id


def test_what_came_along_is_known_to_the_server() -> None:
    """And is not sent again with every use."""
    small = torch.ones(2).to(DEVICE)
    assert small.handle.pending is not None
    small + 1
    assert small.handle.pending is None
