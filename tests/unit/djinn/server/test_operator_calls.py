"""A call is known again by its bytes, and made on other tensors; what clients do not write is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from djinn.core import DTYPE_CODES, ValueRef
from djinn.errors import PlanError, ProtocolError, UnsupportedOperatorError
from djinn.protocol import messages as m
from djinn.protocol.codec import encode_call
from djinn.protocol.operands import OWN_DEVICE
from djinn.server import operator_calls
from djinn.server.operator_calls import KnownCalls

_META = torch.device("meta")
_ONE, _TWO = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])


def _encoded(operator: str, args: list[Any], dtype_code: int | None = None, **kwargs: Any) -> bytes:
    return encode_call(m.OperatorCall(operator, args, kwargs, dtype_code))


def _made(encoded: bytes, *tensors: torch.Tensor, device: torch.device = _META) -> Any:
    calls = KnownCalls(device)
    return calls.make(calls.find(encoded, len(tensors)), tensors)


@pytest.mark.parametrize(
    ("encoded", "tensors", "expected"),
    [
        (_encoded("aten.sub.Tensor", [ValueRef(0), ValueRef(1)]), (_ONE, _TWO), _ONE - _TWO),
        (_encoded("aten.sub.Tensor", [ValueRef(0), ValueRef(1)], alpha=2), (_ONE, _TWO), _ONE - 2 * _TWO),
        (_encoded("aten.pow.Scalar", [2.0, ValueRef(0)]), (_TWO,), 2.0**_TWO),
        (_encoded("aten.cat.default", [[ValueRef(0), ValueRef(1), ValueRef(2)]]), (_ONE, _TWO, _ONE), None),
        (_encoded("aten.clamp.Tensor", [ValueRef(0)], min=ValueRef(1)), (_ONE, _TWO), _TWO),
        (_encoded("aten.clamp.Tensor", [ValueRef(0), None, ValueRef(1)]), (_TWO, _ONE), _ONE),
    ],
)
def test_tensors_come_to_their_places(encoded: bytes, tensors: tuple[torch.Tensor, ...], expected: Any) -> None:
    """First, behind numbers, in lists or by name."""
    assert torch.equal(_made(encoded, *tensors), torch.cat(tensors) if expected is None else expected)


@pytest.mark.parametrize("leading", [[], [ValueRef(0)]])
def test_the_servers_own_device_is_the_callers(leading: list[ValueRef]) -> None:
    """Whether tensors come first or nothing does."""
    operator, args = ("aten.zeros_like.default", leading) if leading else ("aten.zeros.default", [[2]])
    made = _made(_encoded(operator, args, device=OWN_DEVICE), *[_ONE] * len(leading))
    assert made.device == _META


def test_a_repeated_call_is_looked_up() -> None:
    """By equal bytes, not the same object."""
    calls = KnownCalls(_META)
    first = calls.find(_encoded("aten.relu.default", [ValueRef(0)]), 1)
    assert calls.find(bytes(bytearray(_encoded("aten.relu.default", [ValueRef(0)]))), 1) is first


def test_few_calls_are_kept() -> None:
    """The oldest go first."""
    calls = KnownCalls(_META)
    first = _encoded("aten.add.Scalar", [ValueRef(0), 0.5])
    kept = calls.find(first, 1)
    for number in range(operator_calls._MAX_KNOWN):
        calls.find(_encoded("aten.add.Scalar", [ValueRef(0), number]), 1)
    assert calls.find(first, 1) is not kept


def test_a_long_call_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client could fill the server's memory with such calls."""
    monkeypatch.setattr(operator_calls, "_MAX_KNOWN_BYTES", 8)
    calls = KnownCalls(_META)
    encoded = _encoded("aten.relu.default", [ValueRef(0)])
    assert calls.find(encoded, 1) is not calls.find(encoded, 1)


@pytest.mark.parametrize(
    ("args", "written"),
    [([ValueRef(0), ValueRef(1)], [0]), ([[ValueRef(0), ValueRef(1)], 2.0], [0, 1])],
)
def test_what_is_written_to_is_known(args: list[Any], written: list[int]) -> None:
    """Weights that others share are copied first."""
    operator = "aten.add_.Tensor" if written == [0] else "aten._foreach_mul_.Scalar"
    assert KnownCalls(_META).find(_encoded(operator, args), 2).written == written


def test_a_written_argument_by_name_is_known() -> None:
    """The last tensor, here."""
    encoded = _encoded("aten.add.out", [ValueRef(0), ValueRef(1)], out=ValueRef(2))
    assert KnownCalls(_META).find(encoded, 3).written == [2]


@pytest.mark.parametrize("num_tensors", [0, 1, 3])
def test_another_number_of_tensors_is_refused(num_tensors: int) -> None:
    """Fewer would be looked for in vain, more would be kept resident for nothing."""
    with pytest.raises(PlanError, match=f"called on {num_tensors} tensors, but names 2"):
        KnownCalls(_META).find(_encoded("aten.add.Tensor", [ValueRef(0), ValueRef(1)]), num_tensors)


@pytest.mark.parametrize("refs", [[1, 0], [0, 0], [0, 2], [1], [0, 4_000_000_000]])
def test_tensors_have_to_be_numbered_in_order(refs: list[int]) -> None:
    """Each once: so no number is too large for the list, and the bytes of a call are always the same."""
    with pytest.raises(PlanError, match="number them in order"):
        KnownCalls(_META).find(_encoded("aten.add.Tensor", [ValueRef(ref) for ref in refs]), len(refs))


@pytest.mark.parametrize("code", [-1, 10_000, DTYPE_CODES[torch.int64]])
def test_a_default_dtype_has_to_be_one(code: int) -> None:
    """Torch's own would be set to it."""
    with pytest.raises(PlanError, match="(?i)dtype"):
        KnownCalls(_META).find(_encoded("aten.relu.default", [ValueRef(0)], code), 1)


def test_an_operator_that_is_not_run_is_refused() -> None:
    """At every call, not only at the first."""
    calls = KnownCalls(_META)
    for _ in range(2):
        with pytest.raises(UnsupportedOperatorError, match="from_file"):
            calls.find(_encoded("aten.from_file.default", ["/etc/passwd"]), 0)


def test_bytes_that_are_no_call_are_refused() -> None:
    """With an error of the protocol's."""
    with pytest.raises(ProtocolError, match="operator call of 3 bytes"):
        KnownCalls(_META).find(b"\xc1\0\0", 0)


def test_arguments_nested_too_deep_are_refused() -> None:
    """Bytes can nest deeper than Python calls."""
    nested: list[Any] = []
    for _ in range(900):
        nested = [nested]
    with pytest.raises(ProtocolError):
        KnownCalls(_META).find(_encoded("aten.add.Tensor", [nested, nested]), 0)


@pytest.mark.parametrize(
    ("operator", "args", "kwargs"),
    [
        ("aten.add.Tensor", [ValueRef(0), ValueRef(1)], {"out": ValueRef(2)}),
        ("aten.mul.Tensor", [ValueRef(0), ValueRef(1)], {"out": ValueRef(2)}),
        ("aten.mm.default", [ValueRef(0), ValueRef(1)], {"out": ValueRef(2)}),
        ("aten.mm.out", [ValueRef(0), ValueRef(1), torch.float32], {"out": ValueRef(2)}),
        ("aten.add.out", [ValueRef(0), ValueRef(1), ValueRef(2)], {}),
        ("aten.copy_.default", [ValueRef(0), ValueRef(1), False, ValueRef(2)], {}),
    ],
)
def test_arguments_beside_the_schema_are_refused(operator: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """What is written to is known from the schema alone, and torch's own functions take more."""
    with pytest.raises(PlanError, match="does not take these arguments"):
        KnownCalls(_META).find(_encoded(operator, args, **kwargs), 3)
