"""Places in shared memory where payloads stay."""

from __future__ import annotations

import pytest

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


def test_what_uses_the_memory_hears_before_it_is_unmapped() -> None:
    """Once, while the bytes are still there."""
    shared = SharedMemory.create(8192)
    seen: list[int] = []
    shared.before_close.append(lambda: seen.append(shared.view[0]))
    shared.close()
    shared.close()
    assert seen == [0]
