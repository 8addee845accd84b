"""Host memory as a region, as the system accounts for it."""

from __future__ import annotations

import pytest

from djinn.memory.host_region import HostRegion


@pytest.mark.parametrize(
    ("freed", "free", "kept"),
    [
        (range(0, 8192), range(0, 8192), [2, 3]),
        (range(100, 8192), range(100, 8192), [0, 2, 3]),
        (range(100, 8100), range(0, 8192), [2, 3]),
        (range(4096, 4200), range(0, 16_384), [0, 2, 3]),
        (range(5000, 6000), range(5000, 6000), [0, 1, 2, 3]),
        (range(4000, 12_300), range(4000, 12_300), [0, 3]),
    ],
)
def test_only_pages_that_are_free_and_were_just_freed_go(freed: range, free: range, kept: list[int]) -> None:
    """Pages that reach beyond either are left alone."""
    region = HostRegion("Test", 16_384)
    content = region.bytes_view(0, 16_384).fill_(1)
    region.discard_freed(freed, free)
    assert [page for page in range(4) if bool(content[4096 * page])] == kept
