"""Places in shared memory where payloads stay."""

from __future__ import annotations

import pytest

from djinn.errors import ProtocolError
from djinn.transport.shared_memory import SharedMemory


@pytest.mark.parametrize(
    ("offset_bytes", "num_bytes", "is_there"),
    [
        (4096, 4096, True),
        (8191, 1, True),
        (0, 16, False),
        (4095, 16, False),
        (4096, 4097, False),
        (1 << 40, 1, False),
        (4096, 0, False),
    ],
)
def test_a_place_is_where_nothing_is_overwritten(offset_bytes: int, num_bytes: int, is_there: bool) -> None:
    """In the second half, whole."""
    shared = SharedMemory.create(8192)
    place = shared.place(offset_bytes, num_bytes)
    assert (place is not None) is is_there
    if place is not None:
        place.view[:] = b"p" * num_bytes
        assert shared.view[offset_bytes : offset_bytes + num_bytes] == b"p" * num_bytes
        place.view.release()
    shared.close()


@pytest.mark.parametrize(
    ("num_bytes", "offset_bytes", "has_room"),
    [
        (1, 0, True),
        (4096, 0, True),
        (4097, 0, False),
        (0, 0, False),
        (4096, 4096, True),
        (4097, 4096, False),
        (1, 8191, True),
    ],
)
def test_what_is_written_is_read(num_bytes: int, offset_bytes: int, has_room: bool) -> None:
    """From the start, up to where results stay, or where these are wanted; what has no room is left out whole."""
    shared = SharedMemory.create(8192)
    assert shared.write(b"p" * num_bytes, offset_bytes) is has_room
    expected = bytes(offset_bytes) + (b"p" * num_bytes if has_room else b"")
    assert bytes(shared.view[:8192]) == expected.ljust(8192, b"\0")
    payload = shared.read(num_bytes, offset_bytes)
    assert (payload is None) is (offset_bytes + num_bytes > 8192)
    if has_room:
        assert payload == b"p" * num_bytes


@pytest.mark.parametrize("offset_bytes", [1, 4095, 8192, 1 << 40])
def test_nothing_is_written_where_no_result_may_come(offset_bytes: int) -> None:
    """The next payload would lie there, or nothing at all."""
    shared = SharedMemory.create(8192)
    with pytest.raises(ProtocolError, match=f"wanted at byte {offset_bytes} of shared memory"):
        shared.write(b"p", offset_bytes)
    assert shared.read(1, 1 << 40) is None


def test_what_uses_the_memory_hears_before_it_is_unmapped() -> None:
    """Once, while the bytes are still there."""
    shared = SharedMemory.create(8192)
    seen: list[int] = []
    shared.before_close.append(lambda: seen.append(shared.view[0]))
    shared.close()
    shared.close()
    assert seen == [0]
