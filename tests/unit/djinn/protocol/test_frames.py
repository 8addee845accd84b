"""Frame headers: what is written is read, and anything else is refused before it costs memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djinn.errors import ProtocolError
from djinn.protocol.frames import (
    HEADER_BYTES,
    MAX_BODY_BYTES,
    MAX_PAYLOAD_BYTES,
    FrameHeader,
    pack_header,
    unpack_header,
)
from djinn.protocol.messages import PROTOCOL_VERSION


@given(st.integers(0, MAX_BODY_BYTES), st.integers(0, MAX_PAYLOAD_BYTES), st.booleans(), st.integers(0, 2**64 - 1))
def test_round_trip(body_bytes: int, payload_bytes: int, is_shared: bool, payload_offset: int) -> None:
    """Lengths, flag and offset survive."""
    header = unpack_header(pack_header(body_bytes, payload_bytes, is_shared=is_shared, payload_offset=payload_offset))
    assert header == FrameHeader(body_bytes, payload_bytes, is_shared, payload_offset)


@given(st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES))
def test_random_bytes_are_refused(raw: bytes) -> None:
    """No random header passes without the magic."""
    if not raw.startswith(b"DJNN"):
        with pytest.raises(ProtocolError, match="connect to a djinn server"):
            unpack_header(raw)


@pytest.mark.parametrize(("position", "value"), [(4, PROTOCOL_VERSION + 1), (5, 4), (6, 1)])
def test_foreign_version_flags_and_reserved_bytes_are_refused(position: int, value: int) -> None:
    """Only what this version defines is understood."""
    raw = bytearray(pack_header(1, 1, is_shared=False))
    raw[position] = value
    with pytest.raises(ProtocolError, match="run the same release"):
        unpack_header(raw)


@pytest.mark.parametrize(("body_bytes", "payload_bytes"), [(MAX_BODY_BYTES + 1, 0), (0, MAX_PAYLOAD_BYTES + 1)])
def test_lengths_over_the_caps_are_refused(body_bytes: int, payload_bytes: int) -> None:
    """A liar about lengths makes nobody allocate."""
    raw = bytearray(pack_header(0, 0, is_shared=False))
    raw[8:12] = body_bytes.to_bytes(4, "little")
    raw[12:20] = payload_bytes.to_bytes(8, "little")
    with pytest.raises(ProtocolError, match="exceeds the cap"):
        unpack_header(raw)
