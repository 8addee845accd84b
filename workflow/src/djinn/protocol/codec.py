"""Messages to MessagePack and back; operands that MessagePack lacks travel as extension types, never as pickles."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import torch

from djinn.core import DTYPE_CODES, DTYPES, ValueRef
from djinn.errors import ProtocolError
from djinn.protocol.messages import AnyReply, AnyRequest, OperatorCall, Reply, Request
from djinn.protocol.operands import OWN_DEVICE, OwnDevice

_VALUE, _DTYPE, _MEMORY_FORMAT, _LAYOUT, _DEVICE, _COMPLEX = range(1, 7)

_MEMORY_FORMATS = (
    torch.contiguous_format,
    torch.preserve_format,
    torch.channels_last,
    torch.channels_last_3d,
)
_LAYOUTS = (torch.strided,)


def _encode_ref(index: int) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(_VALUE, struct.pack("<I", index))


# What stands for the first tensors that a call is made on, as it travels: most calls have no more.
FIRST_REFS = tuple(map(_encode_ref, range(16)))


def _encode_operand(operand: Any) -> msgspec.msgpack.Ext:
    if isinstance(operand, ValueRef):
        return _encode_ref(operand.index)
    if isinstance(operand, torch.dtype):
        return msgspec.msgpack.Ext(_DTYPE, bytes([DTYPE_CODES[operand]]))
    if isinstance(operand, torch.memory_format):
        return msgspec.msgpack.Ext(_MEMORY_FORMAT, bytes([_MEMORY_FORMATS.index(operand)]))
    if isinstance(operand, torch.layout):
        return msgspec.msgpack.Ext(_LAYOUT, bytes([_LAYOUTS.index(operand)]))
    if isinstance(operand, OwnDevice | torch.device):
        return msgspec.msgpack.Ext(_DEVICE, b"")
    if isinstance(operand, complex):
        return msgspec.msgpack.Ext(_COMPLEX, struct.pack("<dd", operand.real, operand.imag))
    raise NotImplementedError(
        f"An operand of type {type(operand).__name__} cannot travel; pass tensors and plain scalars."
    )


def _decode_operand(code: int, data: memoryview) -> Any:
    raw = bytes(data)
    match code:
        case 1:
            return ValueRef(*struct.unpack("<I", raw))
        case 2:
            return DTYPES[raw[0]]
        case 3:
            return _MEMORY_FORMATS[raw[0]]
        case 4:
            return _LAYOUTS[raw[0]]
        case 5:
            return OWN_DEVICE
        case 6:
            return complex(*struct.unpack("<dd", raw))
    raise ValueError(f"extension type {code} is unknown")


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_operand)
_request_decoder: msgspec.msgpack.Decoder[AnyRequest] = msgspec.msgpack.Decoder(AnyRequest, ext_hook=_decode_operand)
_reply_decoder: msgspec.msgpack.Decoder[AnyReply] = msgspec.msgpack.Decoder(AnyReply, ext_hook=_decode_operand)
_call_decoder = msgspec.msgpack.Decoder(OperatorCall, ext_hook=_decode_operand)
_UNDECODABLE = (msgspec.DecodeError, ValueError, IndexError, struct.error, RecursionError)


def encode(message: Request | Reply) -> bytes:
    """Encode a message.

    Raises:
        NotImplementedError: an operand of a type that does not travel.
    """
    return _encoder.encode(message)


def encode_call(call: OperatorCall) -> bytes:
    """Encode an operator call: equal bytes are equal calls, down to the sign of a zero; raises as `encode` does."""
    return _encoder.encode(call)


def decode_request(body: bytes | memoryview) -> AnyRequest:
    """Decode what a client sent.

    Raises:
        ProtocolError: bytes that are no request.
    """
    try:
        return _request_decoder.decode(body)
    except _UNDECODABLE as error:
        raise ProtocolError(
            f"A request of {len(body)} bytes cannot be decoded ({error}); use a client of this version."
        ) from error


def decode_call(body: bytes) -> OperatorCall:
    """Decode an operator call.

    Raises:
        ProtocolError: bytes that are none.
    """
    try:
        return _call_decoder.decode(body)
    except _UNDECODABLE as error:
        raise ProtocolError(
            f"An operator call of {len(body)} bytes cannot be decoded ({error}); use a client of this version."
        ) from error


def decode_reply(body: bytes | memoryview) -> AnyReply:
    """Decode what a server sent.

    Raises:
        ProtocolError: bytes that are no reply.
    """
    try:
        return _reply_decoder.decode(body)
    except _UNDECODABLE as error:
        raise ProtocolError(
            f"A reply of {len(body)} bytes cannot be decoded ({error}); use a server of this version."
        ) from error
