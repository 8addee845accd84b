"""Host memory as a region, as the system accounts for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from djinn.memory.host_region import HostRegion
from djinn.units import MiB

_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def _huge_kib(tensor: torch.Tensor) -> int:
    """Return how much of the mapping that a tensor lies in consists of huge pages."""
    address = tensor.data_ptr()
    for mapping in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", mapping)
        if bounds and int(bounds[1], 16) <= address < int(bounds[2], 16):
            found = re.search(r"AnonHugePages: +(\d+) kB", mapping)
            assert found is not None, "the system does not account for huge pages"
            return int(found[1])
    pytest.fail("the tensor lies in no mapping")


def test_memory_consists_of_huge_pages_where_they_were_asked_for() -> None:
    """Elsewhere it is committed page by page."""
    if not _SETTING.exists() or "[madvise]" not in _SETTING.read_text():
        pytest.skip("the system grants huge pages to nobody, or to all")
    small, huge = HostRegion("Small", 16 * MiB), HostRegion("Huge", 16 * MiB)
    huge.advise_huge_pages()
    tensors = [region.bytes_view(0, 16 * MiB).fill_(1) for region in (small, huge)]
    assert _huge_kib(tensors[0]) == 0
    assert _huge_kib(tensors[1]) >= 8 * 1024


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
