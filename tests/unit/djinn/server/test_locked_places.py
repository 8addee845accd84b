"""Which places are locked and for how long; the driver is asked to in the tests on a GPU."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
import torch

from djinn.errors import DjinnError
from djinn.memory import cuda_driver
from djinn.server.locked_places import LockedPlaces
from djinn.transport.mailbox import MAILBOX_BYTES
from djinn.transport.shared_memory import Place, SharedMemory
from djinn.units import PAGE_BYTES

_HALF_BYTES = 16 * PAGE_BYTES
_LIKE = torch.zeros(PAGE_BYTES // 4)


class _Driver:
    """Counts what is locked, and refuses what is locked already."""

    def __init__(self) -> None:
        self.locked: dict[int, int] = {}

    def call(self, name: str, address: Any, *arguments: Any) -> None:
        """Lock or unlock."""
        if name == "cuMemHostUnregister":
            del self.locked[address.value]
        elif address.value in self.locked:
            raise DjinnError("locked already")
        else:
            self.locked[address.value] = arguments[0].value


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> _Driver:
    """A driver without a device."""
    made = _Driver()
    monkeypatch.setattr(cuda_driver, "call", made.call)
    return made


def _place(shared: SharedMemory, page: int, num_bytes: int = PAGE_BYTES) -> Place:
    place = shared.place(shared.payload_bytes + page * PAGE_BYTES, num_bytes)
    assert place is not None
    return place


def test_a_place_is_locked_once_and_until_its_memory_is_closed(driver: _Driver) -> None:
    """Whole pages of it, whatever the dtype and shape of what comes there."""
    shared, places = SharedMemory.create(2 * _HALF_BYTES), LockedPlaces()
    for like in (torch.zeros(5), torch.zeros(2, 3, dtype=torch.complex64), torch.tensor(True)):
        place = _place(shared, 1, like.nbytes)
        host = places.tensor(place, like)
        assert host is not None
        assert (host.dtype, host.shape) == (like.dtype, like.shape)
        host.fill_(1)
        assert bytes(place.view) == torch.ones_like(like).view(-1).view(torch.uint8).numpy().tobytes()
        assert list(driver.locked.values()) == [PAGE_BYTES]
        del host, place
    shared.close()
    assert not driver.locked


def test_the_address_of_a_place_is_that_of_its_locked_pages(driver: _Driver) -> None:
    """Of a mailbox, too; None if it cannot be locked."""
    shared, places = SharedMemory.create(2 * _HALF_BYTES), LockedPlaces(MAILBOX_BYTES)
    mailbox = shared.mailbox_place(of_creator=False)
    address = places.address(mailbox)
    assert address is not None
    assert driver.locked == {address: MAILBOX_BYTES}
    mailbox.view[:8] = (1234).to_bytes(8, "little")
    assert ctypes.c_uint64.from_address(address).value == 1234
    assert places.address(shared.mailbox_place(of_creator=True)) is None
    del mailbox
    shared.close()


def test_a_place_that_grew_or_is_refused_is_not_used(driver: _Driver) -> None:
    """Nor one that does not begin with a page; the result takes another way."""
    shared, places = SharedMemory.create(2 * _HALF_BYTES), LockedPlaces()
    assert places.tensor(_place(shared, 0), _LIKE) is not None
    assert places.tensor(_place(shared, 0, 2 * PAGE_BYTES), torch.zeros(PAGE_BYTES // 2)) is None
    odd = shared.place(shared.payload_bytes + 5 * PAGE_BYTES + 4, 64)
    assert odd is not None
    assert places.tensor(odd, torch.zeros(16)) is None
    [address] = driver.locked
    driver.locked[address + PAGE_BYTES] = PAGE_BYTES
    assert places.tensor(_place(shared, 1), _LIKE) is None
    del driver.locked[address + PAGE_BYTES]
    assert places.tensor(_place(shared, 1), _LIKE) is None, "it would be asked for at each call"


def test_what_may_be_locked_has_a_limit_for_all_connections(driver: _Driver) -> None:
    """What one gives back, or was refused, others may lock."""
    places = LockedPlaces(3 * PAGE_BYTES)
    one, other = SharedMemory.create(2 * _HALF_BYTES), SharedMemory.create(2 * _HALF_BYTES)
    assert places.tensor(_place(one, 0, 2 * PAGE_BYTES), _LIKE) is not None
    assert places.tensor(_place(other, 0, 2 * PAGE_BYTES), _LIKE) is None
    [address] = driver.locked
    driver.locked[address + 4 * PAGE_BYTES] = PAGE_BYTES
    assert places.tensor(_place(one, 4), _LIKE) is None
    del driver.locked[address + 4 * PAGE_BYTES]
    assert places.tensor(_place(other, 2), _LIKE) is not None
    assert places.tensor(_place(other, 3), _LIKE) is None
    one.close()
    assert places.tensor(_place(other, 4, 2 * PAGE_BYTES), _LIKE) is not None
    other.close()
    assert not driver.locked
