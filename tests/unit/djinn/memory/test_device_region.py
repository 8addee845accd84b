"""A device's region: pages are committed before they are used, mapped in one piece, and given back; here over host memory."""

from __future__ import annotations

import pytest
import torch

from djinn.core import TensorMeta
from djinn.errors import OutOfMemoryError
from djinn.memory.data_segment import DataSegment
from djinn.memory.device_memory import AllocatedMemory
from djinn.memory.device_region import DeviceRegion
from djinn.memory.pinned_pool import _fold, _weights
from djinn.memory.text_segment import TextSegment

_PAGE = 65_536


class _Counting(AllocatedMemory):
    """Counts the calls that a driver would get."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"), _PAGE)
        self.mapped: list[int] = []
        self.unmapped: list[int] = []

    def map(self, name: str, address: int, num_bytes: int) -> None:
        """Note a mapping."""
        super().map(name, address, num_bytes)
        self.mapped.append(num_bytes // _PAGE)

    def unmap(self, address: int, num_bytes: int) -> None:
        """Note that it went."""
        self.unmapped.append(num_bytes // _PAGE)


def _bytes(num_bytes: int) -> TensorMeta:
    return TensorMeta((num_bytes,), (1,), torch.uint8)


def test_a_range_is_mapped_at_once_and_gaps_alone_later() -> None:
    """However many pages there are; what is committed already is left alone."""
    memory = _Counting()
    region = DeviceRegion("Data", 16 * _PAGE, memory)
    assert region.committed_bytes == 0
    region.tensor(2 * _PAGE, _bytes(2 * _PAGE)).fill_(7)
    region.commit(0, 6 * _PAGE)
    assert memory.mapped == [2, 2, 2]
    assert region.committed_bytes == 6 * _PAGE
    assert bool((region.bytes_view(2 * _PAGE, 2 * _PAGE) == 7).all())


def test_discarded_pages_read_zero_when_they_are_committed_again() -> None:
    """Every mapping that lies in the range goes."""
    memory = _Counting()
    region = DeviceRegion("Data", 16 * _PAGE, memory)
    region.commit(_PAGE, _PAGE)
    region.bytes_view(0, 3 * _PAGE).fill_(9)
    region.discard(0, 4 * _PAGE)
    assert sum(memory.unmapped) == 3
    assert region.committed_bytes == 0
    assert not region.bytes_view(0, 3 * _PAGE).any()


def test_weights_that_share_a_mapping_go_together() -> None:
    """A page that two weights lie in was mapped with the first; it stays for as long as either does."""
    memory = _Counting()
    segment = TextSegment(16 * _PAGE, lambda name, capacity: DeviceRegion(name, capacity, memory))
    first, _ = segment.store(torch.ones(_PAGE + 100, dtype=torch.uint8))
    second, tensor = segment.store(torch.full((3 * _PAGE,), 2, dtype=torch.uint8))
    third, _ = segment.store(torch.full((_PAGE,), 3, dtype=torch.uint8))
    assert memory.mapped == [2, 3, 1]
    segment.release(first)
    assert memory.unmapped == []
    assert bool((tensor == 2).all())
    segment.release(second)
    assert sorted(memory.unmapped) == [2]
    segment.release(third)
    assert sorted(memory.unmapped) == [1, 2, 3]
    assert segment.region.committed_bytes == 0


def test_a_segment_of_device_memory_keeps_its_invariants() -> None:
    """Arenas are whole pages of the device, and the next owner reads zeros."""
    memory = _Counting()
    segment = DataSegment(16 * _PAGE, lambda name, capacity: DeviceRegion(name, capacity, memory))
    arena = segment.reserve("one", _PAGE + 1)
    assert arena.arena_bytes == 2 * _PAGE
    assert memory.mapped == []
    segment.tensor(arena, arena.allocate(100), _bytes(100)).fill_(5)
    segment.check_integrity()
    segment.release("one")
    second = segment.reserve("two", _PAGE)
    assert not segment.tensor(second, second.allocate(100), _bytes(100)).any()


def test_a_device_without_virtual_memory_says_what_does_not_fit() -> None:
    """Reserving allocates there."""
    with pytest.raises(OutOfMemoryError, match="GENIE_DATA_CAPACITY_MB"):
        DeviceRegion("Data", 2**60, AllocatedMemory(torch.device("cpu")))


def test_a_change_of_any_word_changes_the_folded_digest() -> None:
    """In whole rows and in the rest."""
    weights = _weights()
    words = torch.arange(3 * len(weights) + 5)
    folded = _fold(words, weights)
    assert folded.shape == (4,)
    for position in (0, len(weights), 3 * len(weights) + 4):
        changed = words.clone()
        changed[position] += 1
        assert not torch.equal(_fold(changed, weights), folded)
