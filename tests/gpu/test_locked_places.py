"""Results that the device writes to shared memory itself."""

from __future__ import annotations

import io
import os

import pytest
import torch

import djinn
from djinn.memory import cuda_driver
from djinn.server.locked_places import LockedPlaces
from djinn.transport.mailbox import ENDED_AT_BYTES
from djinn.transport.shared_memory import SharedMemory

DEVICE = "remote_accelerator:0"
_NUM_ELEMENTS = 50_257


def test_what_is_copied_to_a_place_is_seen_by_both_ends() -> None:
    """At once for each of several results, of different dtypes, until the memory is closed; then others may lock it."""
    ours = SharedMemory.create(1 << 20)
    theirs = SharedMemory(io.FileIO(os.dup(ours.file.fileno()), "r+"), 1 << 20)
    places = LockedPlaces()
    for number in range(4):
        source = torch.arange(1_000 * number, 1_000 * (number + 1), device="cuda").to(
            torch.float64 if number % 2 else torch.int32
        )
        place = ours.place((1 << 19) + 16_384 * (number % 2), 8_000)
        assert place is not None
        host = places.tensor(place, source)
        assert host is not None
        host.copy_(source, non_blocking=True)
        torch.cuda.synchronize()
        begin = place.offset_bytes
        assert bytes(theirs.view[begin : begin + source.nbytes]) == source.cpu().numpy().tobytes()
        del host, place
    for is_free in (False, True):
        place = ours.place(1 << 19, 4_096)
        assert place is not None
        assert (LockedPlaces().tensor(place, torch.empty(1)) is not None) is is_free
        while ours.before_close:
            ours.before_close.pop()()
    ours.close()
    theirs.close()


def test_the_device_says_that_it_is_done_after_what_it_was_told_before() -> None:
    """Not while a kernel of a tenth of a second runs; whoever sees the number sees the result."""
    shared = SharedMemory.create(1 << 20)
    places, mailbox, place = LockedPlaces(), shared.mailbox_place(of_creator=True), shared.place(1 << 19, 40_000)
    assert place is not None
    source = torch.zeros(10_000, device="cuda")
    host, address = places.tensor(place, source), places.address(mailbox)
    assert host is not None
    assert address is not None
    assert cuda_driver.can_write_to_host(torch.cuda.current_device())
    word = mailbox.view[ENDED_AT_BYTES : ENDED_AT_BYTES + 8].cast("Q")
    for number in (1, 2, 2**64 - 1):
        torch.cuda._sleep(200_000_000)
        source.fill_(number % 1_000)
        host.copy_(source, non_blocking=True)
        cuda_driver.write_number(torch.device("cuda", torch.cuda.current_device()), address + ENDED_AT_BYTES, number)
        assert word[0] != number
        while word[0] != number:
            pass
        assert torch.equal(host, torch.full((10_000,), float(number % 1_000)))
    torch.cuda.synchronize()
    del host, place, mailbox, word
    shared.close()


def test_places_that_overlap_are_copied_to() -> None:
    """A client may want anything."""
    shared = SharedMemory.create(1 << 20)
    places = LockedPlaces()
    like = torch.zeros(2_048, device="cuda")
    first, second = (shared.place((1 << 19) + offset, 8_192) for offset in (0, 4_096))
    unaligned = shared.place((1 << 19) + 65_540, 8_192)
    assert first is not None
    assert second is not None
    assert unaligned is not None
    assert places.tensor(first, like) is not None
    for _ in range(2):
        assert places.tensor(second, like) is None
        assert places.tensor(unaligned, like) is None
    shared.close()


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("is_contiguous", [True, False])
def test_results_that_come_along_are_native_ones_and_stay(is_contiguous: bool) -> None:
    """Also while later ones come; a transposed one comes as its elements lie row by row."""
    torch.manual_seed(0)
    native = torch.nn.Linear(64, _NUM_ELEMENTS).eval().requires_grad_(False).cuda()
    remote = torch.nn.Linear(64, _NUM_ELEMENTS).eval().requires_grad_(False)
    remote.load_state_dict(native.state_dict())

    class Head(torch.nn.Module):
        def __init__(self, linear: torch.nn.Linear) -> None:
            super().__init__()
            self.linear = linear

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.linear(hidden)
            return result if is_contiguous else result.t()

    ours, theirs = Head(native), Head(remote).to(DEVICE)
    kept = []
    with torch.no_grad(), djinn.session():
        for _ in range(8):
            hidden = torch.randn(3, 64)
            kept.append((theirs(hidden.to(DEVICE)).cpu(), ours(hidden.cuda()).cpu()))
    for got, expected in kept:
        assert torch.equal(got, expected)
        assert got.stride() == expected.stride()
