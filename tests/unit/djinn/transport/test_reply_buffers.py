"""Places for replies: nobody gets one that somebody still looks at, and the same one comes again after that."""

from __future__ import annotations

import gc
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from djinn.forks import Forks
from djinn.transport.reply_buffers import ReplyBuffers
from djinn.transport.shared_memory import SharedMemory
from djinn.units import PAGE_BYTES

_NUM_PAGES = 16


@pytest.fixture(scope="module")
def shared() -> SharedMemory:
    """Memory whose second half is for replies."""
    return SharedMemory.create(2 * _NUM_PAGES * PAGE_BYTES)


_NUM_BYTES = st.integers(1, 3 * PAGE_BYTES) | st.sampled_from([1, PAGE_BYTES])


@given(steps=st.lists(st.tuples(_NUM_BYTES, st.integers(0, 7), st.none() | _NUM_BYTES), max_size=60))
def test_places_in_use_never_overlap(shared: SharedMemory, steps: list[tuple[int, int, int | None]]) -> None:
    """Whatever is prepared, taken and let go in whichever order, each holder reads what was written to its own place."""
    buffers = ReplyBuffers(shared)
    held: dict[int, tuple[memoryview, int]] = {}
    for number, (num_bytes, forgotten, prepared) in enumerate(steps):
        if prepared is not None:
            buffers.prepare(prepared)
        buffer = buffers.take(num_bytes)
        if buffer is not None:
            assert buffer.offset_bytes >= shared.payload_bytes
            assert shared.view[buffer.offset_bytes : buffer.offset_bytes + num_bytes] == buffer.view
            buffer.view[:] = bytes([number]) * num_bytes
            held[number] = buffer.view, num_bytes
        del buffer
        held.pop(forgotten, None)
        for wrote, (view, length) in held.items():
            assert bytes(view) == bytes([wrote]) * length
    held.clear()


def test_a_place_that_is_ready_is_taken_first(shared: SharedMemory) -> None:
    """Once; no second one is made ready before, and none where there is no memory."""
    buffers = ReplyBuffers(shared)
    taken = [buffers.take(PAGE_BYTES) for _ in range(2)]
    for _ in range(3):
        buffers.prepare(PAGE_BYTES)
    assert buffers._first_unused == shared.payload_bytes + 3 * PAGE_BYTES
    taken += [buffers.take(PAGE_BYTES) for _ in range(_NUM_PAGES - 1)]
    offsets = [place.offset_bytes for place in taken if place is not None]
    assert offsets == [shared.payload_bytes + number * PAGE_BYTES for number in range(_NUM_PAGES)]
    assert taken[-1] is None
    buffers.prepare(PAGE_BYTES)
    assert buffers.take(PAGE_BYTES) is None


@pytest.mark.parametrize("taken", [(1,), (1, 2, 1, 2), (2, 2, 1)])
def test_no_place_is_held_for_sizes_that_come_once(shared: SharedMemory, taken: tuple[int, ...]) -> None:
    """Or by turns: the memory would be full of places that nobody takes."""
    buffers = ReplyBuffers(shared)
    held = [buffers.take(num_pages * PAGE_BYTES) for num_pages in taken]
    for num_pages in (1, 3):
        buffers.prepare(num_pages * PAGE_BYTES)
    assert buffers._first_unused == shared.payload_bytes + sum(taken) * PAGE_BYTES
    assert None not in held


def test_a_place_that_was_ready_before_a_fork_comes_again(
    shared: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child cannot hold it: it was taken after that."""
    buffers = ReplyBuffers(shared)
    for _ in range(2):
        buffers.take(PAGE_BYTES)
    buffers.prepare(PAGE_BYTES)
    monkeypatch.setattr(Forks, "count", Forks.count + 1)
    place = buffers.take(PAGE_BYTES)
    assert place is not None
    offset = place.offset_bytes
    del place
    gc.collect()
    again = buffers.take(PAGE_BYTES)
    assert again is not None
    assert again.offset_bytes == offset


def test_a_place_comes_again_when_its_tensor_is_gone(shared: SharedMemory) -> None:
    """A tensor over it, or a view of that, keeps it."""
    buffers = ReplyBuffers(shared)
    first = buffers.take(PAGE_BYTES)
    assert first is not None
    offset = first.offset_bytes
    tensor = torch.frombuffer(first.view, dtype=torch.uint8)
    part = tensor[5:7]
    del first, tensor
    gc.collect()
    other = buffers.take(PAGE_BYTES)
    assert other is not None
    assert other.offset_bytes != offset
    del part
    gc.collect()
    again = buffers.take(PAGE_BYTES)
    assert again is not None
    assert again.offset_bytes == offset


def test_when_all_is_taken_there_is_none(shared: SharedMemory) -> None:
    """The caller then copies."""
    buffers = ReplyBuffers(shared)
    held = [buffers.take(PAGE_BYTES) for _ in range(_NUM_PAGES)]
    assert None not in held
    assert buffers.take(1) is None
    held.pop()
    gc.collect()
    assert buffers.take(1) is not None


def test_what_was_held_at_a_fork_is_not_handed_out_again() -> None:
    """The child holds it too, and shares the memory."""
    shared = SharedMemory.create(2 * _NUM_PAGES * PAGE_BYTES)
    buffers = ReplyBuffers(shared)
    buffer = buffers.take(PAGE_BYTES)
    assert buffer is not None
    buffer.view[:] = b"p" * PAGE_BYTES
    reads, writes = os.pipe()
    child_id = os.fork()
    if not child_id:
        os.read(reads, 1)
        os._exit(0 if buffer.view == b"p" * PAGE_BYTES else 1)
    del buffer
    gc.collect()
    held = []
    while (place := buffers.take(PAGE_BYTES)) is not None:
        place.view[:] = b"q" * PAGE_BYTES
        held.append(place)
    os.write(writes, b"g")
    _, status = os.waitpid(child_id, 0)
    assert status == 0
    assert len(held) == _NUM_PAGES - 1
