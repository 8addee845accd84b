"""A million random operations on the Data segment against a model of who owns which bytes."""

from __future__ import annotations

import random

import pytest

from djinn.errors import OutOfMemoryError
from djinn.memory.arena import tensor_bytes
from djinn.memory.data_segment import DataSegment
from djinn.units import PAGE_BYTES

_CAPACITY = 4096 * PAGE_BYTES
_NUM_OPERATIONS = 1_000_000
_AUDIT_EVERY = 20_000


class _Model:
    """Sessions with their tensors as (offset, bytes), and the segment that has to agree."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.segment = DataSegment(_CAPACITY)
        self.tensors: dict[str, list[tuple[int, int]]] = {}
        self.names: list[str] = []
        self.num_refused = self.num_made = 0

    def step(self) -> None:
        """Do one random operation."""
        choice = self.random.random()
        if not self.names or choice < 0.08:
            self._reserve()
        elif choice < 0.15:
            self._release()
        elif choice < 0.6:
            self._allocate()
        else:
            self._free()

    def audit(self) -> None:
        """Compare the segment with the model."""
        self.segment.check_integrity()
        assert sorted(self.segment.session_ids()) == sorted(self.names)
        expected = sum(tensor_bytes(size) for tensors in self.tensors.values() for _, size in tensors)
        assert self.segment.used_bytes == expected
        for tensors in self.tensors.values():
            end = 0
            for offset, size in sorted(tensors):
                assert offset >= end, "two tensors of one arena overlap"
                end = offset + tensor_bytes(size)

    def _reserve(self) -> None:
        self.num_made += 1
        name = f"session-{self.num_made}"
        try:
            self.segment.reserve(name, self.random.randint(1, 64 * PAGE_BYTES))
        except OutOfMemoryError:
            self.num_refused += 1
            return
        self.tensors[name] = []
        self.names.append(name)

    def _release(self) -> None:
        place = self.random.randrange(len(self.names))
        self.names[place], self.names[-1] = self.names[-1], self.names[place]
        name = self.names.pop()
        del self.tensors[name]
        self.segment.release(name)

    def _allocate(self) -> None:
        name = self.random.choice(self.names)
        size = self.random.randint(0, 2 * PAGE_BYTES)
        try:
            self.tensors[name].append((self.segment.arena(name).allocate(size), size))
        except OutOfMemoryError:
            self.num_refused += 1

    def _free(self) -> None:
        name = self.random.choice(self.names)
        if self.tensors[name]:
            place = self.random.randrange(len(self.tensors[name]))
            self.segment.arena(name).release(*self.tensors[name].pop(place))


@pytest.mark.parametrize("seed", [1])
def test_the_segment_agrees_with_the_model(seed: int) -> None:
    """No overlap, no leak, every refusal without a trace; and nothing is left at the end."""
    model = _Model(seed)
    for number in range(_NUM_OPERATIONS):
        model.step()
        if number % _AUDIT_EVERY == 0:
            model.audit()
    assert model.num_refused > 1000, "the segment was never full, so refusals were not tried"
    for name in list(model.names):
        model.segment.release(name)
    model.names.clear()
    model.tensors.clear()
    model.audit()
    assert model.segment.reserved_bytes == 0
