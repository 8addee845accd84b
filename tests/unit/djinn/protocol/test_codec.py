"""Messages survive the wire; bytes that are no message raise one kind of error."""

from __future__ import annotations

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from djinn.core import ValueRef
from djinn.errors import ProtocolError
from djinn.protocol import messages as m
from djinn.protocol.codec import (
    FIRST_REFS,
    decode_call,
    decode_reply,
    decode_request,
    encode,
    encode_call,
)
from djinn.protocol.operands import OWN_DEVICE

_OPERANDS = [
    None,
    True,
    -3,
    2.5,
    "sum",
    1 + 2j,
    ValueRef(3),
    torch.bfloat16,
    torch.channels_last,
    torch.strided,
    [ValueRef(1), [2, None]],
]


def test_every_kind_of_operand_survives() -> None:
    """An operator's arguments arrive as they were sent."""
    got = decode_call(encode_call(m.OperatorCall("aten.x.default", _OPERANDS, {"dtype": torch.int8})))
    assert got.args == _OPERANDS
    assert got.kwargs == {"dtype": torch.int8}


def test_references_that_were_encoded_before_are_the_same() -> None:
    """Clients write the first tensors of a call so."""
    refs = [ValueRef(number) for number in range(len(FIRST_REFS))]
    written = encode_call(m.OperatorCall("aten.x.default", list(FIRST_REFS), {}))
    assert decode_call(written).args == refs
    assert written == encode_call(m.OperatorCall("aten.x.default", list(refs), {}))


@pytest.mark.parametrize(("one", "other"), [(0.0, -0.0), (1, 1.0), (1, True), (0.0, 0), (1j, -1j), ("1", 1)])
def test_calls_with_other_numbers_are_other_bytes(one: object, other: object) -> None:
    """Both ends know a call by its bytes; some of these are equal in Python."""
    assert encode_call(m.OperatorCall("aten.x.default", [one], {})) != encode_call(
        m.OperatorCall("aten.x.default", [other], {})
    )


def test_any_device_becomes_the_servers_own() -> None:
    """A client cannot name a device of the server."""
    got = decode_call(encode_call(m.OperatorCall("aten.x.default", [torch.device("cpu")], {})))
    assert got.args == [OWN_DEVICE]


def test_an_offset_before_the_memory_is_no_message() -> None:
    """Nothing could be sent there."""
    assert decode_request(encode(m.Stats(reply_offset=0))) == m.Stats()
    with pytest.raises(ProtocolError):
        decode_request(encode(m.Stats(reply_offset=-1)))


def test_an_object_of_another_type_does_not_travel() -> None:
    """Nothing is pickled as a last resort."""
    with pytest.raises(NotImplementedError, match="object"):
        encode_call(m.OperatorCall("aten.x.default", [object()], {}))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_raise_protocol_errors_only(raw: bytes) -> None:
    """A hostile peer gets a typed error, never a crash."""
    for decode in (decode_request, decode_call, decode_reply):
        with contextlib.suppress(ProtocolError):
            decode(raw)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_messages_raise_protocol_errors_only(data: st.DataObject) -> None:
    """Flips and cuts of a real message are refused or are another message."""
    raw = bytearray(encode_call(m.OperatorCall("aten.x.default", _OPERANDS, {})))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ProtocolError):
        decode_call(bytes(raw[: data.draw(st.integers(1, len(raw)))]))
