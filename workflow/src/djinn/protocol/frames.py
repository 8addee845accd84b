"""The frame around each message: a fixed header, the message, and the payload of tensor bytes.

     0      4        5      6         8             12               20               28
    +------+---------+-------+---------+-------------+----------------+----------------+------+---------+
    | DJNN | version | flags | 0 0     | body bytes  | payload bytes  | payload offset | body | payload |
    +------+---------+-------+---------+-------------+----------------+----------------+------+---------+

With the SHARED flag the payload is not in the stream but in the connection's shared memory, at the offset. A header with
the RING flag is no message: it wakes a peer that fell asleep beside its mailbox.
"""

from __future__ import annotations

import struct

import msgspec

from djinn.errors import ProtocolError
from djinn.protocol.messages import PROTOCOL_VERSION
from djinn.units import GiB, MiB

MAGIC = b"DJNN"
HEADER_BYTES = 28
MAX_BODY_BYTES = 64 * MiB
MAX_PAYLOAD_BYTES = 64 * GiB
FLAG_SHARED = 1
FLAG_RING = 2

_HEADER = struct.Struct("<4sBBHIQQ")
assert _HEADER.size == HEADER_BYTES


class FrameHeader(msgspec.Struct, frozen=True):
    """Lengths of what follows a header, and where in shared memory its payload lies, if it does."""

    body_bytes: int
    payload_bytes: int
    is_shared: bool
    payload_offset: int = 0
    is_ring: bool = False


def pack_header(body_bytes: int, payload_bytes: int, *, is_shared: bool, payload_offset: int = 0) -> bytes:
    """Encode a header.

    Raises:
        ProtocolError: a message or payload longer than the protocol allows.
    """
    _check_lengths(body_bytes, payload_bytes)
    flags = FLAG_SHARED if is_shared else 0
    return _HEADER.pack(MAGIC, PROTOCOL_VERSION, flags, 0, body_bytes, payload_bytes, payload_offset)


def pack_ring() -> bytes:
    """Encode a ring."""
    return _HEADER.pack(MAGIC, PROTOCOL_VERSION, FLAG_RING, 0, 0, 0, 0)


def unpack_header(header: bytes | bytearray | memoryview) -> FrameHeader:
    """Decode a header before anything is allocated for what it announces.

    Raises:
        ProtocolError: foreign bytes, another version, unknown flags, or lengths over the caps.
    """
    magic, version, flags, reserved, body_bytes, payload_bytes, payload_offset = _HEADER.unpack(header)
    if magic != MAGIC:
        raise ProtocolError(f"The peer sent {bytes(magic)!r} instead of {MAGIC!r}; connect to a djinn server.")
    if version != PROTOCOL_VERSION:
        raise ProtocolError(
            f"The peer speaks version {version}, this side {PROTOCOL_VERSION}; run the same release on both."
        )
    if flags & ~(FLAG_SHARED | FLAG_RING) or reserved:
        raise ProtocolError(f"The peer set unknown flags {flags:#x}/{reserved:#x}; run the same release on both.")
    _check_lengths(body_bytes, payload_bytes)
    return FrameHeader(body_bytes, payload_bytes, bool(flags & FLAG_SHARED), payload_offset, bool(flags & FLAG_RING))


def _check_lengths(body_bytes: int, payload_bytes: int) -> None:
    if body_bytes > MAX_BODY_BYTES:
        raise ProtocolError(f"A message of {body_bytes} bytes exceeds the cap of {MAX_BODY_BYTES}; split the call.")
    if payload_bytes > MAX_PAYLOAD_BYTES:
        raise ProtocolError(
            f"A tensor of {payload_bytes} bytes exceeds the cap of {MAX_PAYLOAD_BYTES}; split the tensor."
        )
