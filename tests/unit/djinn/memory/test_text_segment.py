"""Weights are stored once for each content and really freed."""

from __future__ import annotations

import psutil
import pytest
import torch

from djinn.core import TensorMeta
from djinn.errors import OutOfMemoryError
from djinn.memory.host_region import HostRegion
from djinn.memory.text_segment import TextSegment
from djinn.units import MiB


def test_equal_contents_share_one_copy() -> None:
    """Two clients with the same model hold one copy."""
    segment = TextSegment(MiB)
    first, tensor = segment.store(torch.arange(100.0))
    second, other = segment.store(torch.arange(100.0))
    assert first is second
    assert tensor.data_ptr() == other.data_ptr()
    assert segment.num_entries == 1


@pytest.mark.parametrize("other", [torch.arange(100.0) + 1, torch.arange(100.0).view(10, 10), torch.arange(100)])
def test_different_contents_shapes_or_dtypes_do_not_share(other: torch.Tensor) -> None:
    """Bytes alone do not make a weight."""
    segment = TextSegment(MiB)
    first, _ = segment.store(torch.arange(100.0))
    second, _ = segment.store(other)
    assert first is not second


def test_the_last_release_frees_the_bytes() -> None:
    """Reference counts reach zero and the space is used again."""
    segment = TextSegment(MiB)
    entry, _ = segment.store(torch.ones(1000))
    segment.store(torch.ones(1000))
    segment.release(entry)
    assert segment.used_bytes > 0
    segment.release(entry)
    assert segment.used_bytes == 0
    assert segment.num_entries == 0
    segment.check_integrity()


def test_freed_weights_leave_resident_memory() -> None:
    """Theirs alone: neighbours keep what they are, and the next weight there is written over nothing old."""
    segment = TextSegment(256 * MiB)
    before = psutil.Process().memory_info().rss
    first, small = segment.store(torch.full((1000,), 1.0))
    large, _ = segment.store(torch.full((16 * MiB,), 2.0))
    _, last = segment.store(torch.full((1000,), 3.0))
    assert psutil.Process().memory_info().rss - before > 60 * MiB
    segment.release(large)
    assert psutil.Process().memory_info().rss - before < 10 * MiB
    assert bool((small == 1).all())
    assert bool((last == 3).all())
    segment.release(first)
    assert bool((last == 3).all())
    _, again = segment.store(torch.full((8 * MiB,), 4.0))
    assert bool((again == 4).all())
    segment.check_integrity()


class _Refusing(HostRegion):
    """Refuses memory once, as a device does that has none left."""

    is_full = True

    def tensor(self, offset_bytes: int, meta: TensorMeta) -> torch.Tensor:
        """Raise at first."""
        if self.is_full:
            self.is_full = False
            raise OutOfMemoryError("The device has no memory left.")
        return super().tensor(offset_bytes, meta)


def test_a_weight_that_could_not_be_stored_leaves_nothing() -> None:
    """The next attempt writes its elements, instead of finding them there."""
    segment = TextSegment(MiB, _Refusing)
    with pytest.raises(OutOfMemoryError):
        segment.store(torch.full((10,), 5.0))
    assert segment.num_entries == segment.used_bytes == 0
    assert segment.store(torch.full((10,), 5.0))[1].tolist() == [5.0] * 10
    segment.check_integrity()


def test_changed_content_is_not_offered_any_more() -> None:
    """After its owner announced a write, an equal weight gets a copy of its own."""
    segment = TextSegment(MiB)
    entry, tensor = segment.store(torch.zeros(10))
    segment.forget_content(entry)
    tensor.add_(1)
    fresh, again = segment.store(torch.zeros(10))
    assert fresh is not entry
    assert torch.equal(again, torch.zeros(10))


def test_full_segment_names_request_and_capacity() -> None:
    """A weight that does not fit is out of memory."""
    segment = TextSegment(MiB)
    with pytest.raises(OutOfMemoryError, match=r"8388608 bytes.*1048576 bytes.*GENIE_TEXT_MB"):
        segment.store(torch.zeros(2 * MiB))
