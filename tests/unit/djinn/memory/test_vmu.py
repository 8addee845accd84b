"""Session arenas: reserved without memory, disjoint, zeroed between owners, refused with a sentence."""

from __future__ import annotations

import random
from collections.abc import Iterator

import psutil
import pytest

import djinn
from djinn.units import MiB


@pytest.fixture
def vmu() -> Iterator[djinn.VirtualMemoryUnit]:
    """A unit with 1 GiB of address space for arenas."""
    unit = djinn.VirtualMemoryUnit(djinn.Config(data_capacity_mb=1024))
    yield unit
    unit.check_integrity()
    unit.close()


def test_default_arena_size_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a size, GENIE_VMU_SESSION_ARENA_MB decides."""
    monkeypatch.setenv("GENIE_VMU_SESSION_ARENA_MB", "3")
    unit = djinn.VirtualMemoryUnit()
    assert unit.reserve_session_arena("a").arena_bytes == 3 * MiB
    unit.close()


def test_reserving_commits_no_memory(vmu: djinn.VirtualMemoryUnit) -> None:
    """900 MiB of arenas leave resident memory where it was; touching one makes exactly its pages resident."""
    before = psutil.Process().memory_info().rss
    for number in range(9):
        vmu.reserve_session_arena(f"s{number}", 100 * MiB)
    assert psutil.Process().memory_info().rss - before < 20 * MiB
    vmu.commit_session_arena("s0")
    assert psutil.Process().memory_info().rss - before > 80 * MiB


def test_arenas_are_disjoint(vmu: djinn.VirtualMemoryUnit) -> None:
    """What one session writes never shows in another, in any order of opening and closing."""
    generator = random.Random(7)
    held: dict[str, bytes] = {}
    for number in range(300):
        if held and generator.random() < 0.4:
            name = generator.choice(list(held))
            content = held.pop(name)
            assert vmu.read_session_arena(name, 0, len(content)) == content
            vmu.release_session_arena(name)
        name = f"s{number}"
        arena_bytes = vmu.reserve_session_arena(name, generator.randint(1, 64) * 4096).arena_bytes
        held[name] = generator.randbytes(arena_bytes)
        vmu.write_session_arena(name, 0, held[name])
        vmu.check_integrity()
    for name, content in held.items():
        assert vmu.read_session_arena(name, 0, len(content)) == content


def test_next_owner_reads_zeros(vmu: djinn.VirtualMemoryUnit) -> None:
    """Released pages carry nothing over."""
    vmu.reserve_session_arena("first", MiB)
    vmu.write_session_arena("first", 0, b"\xff" * MiB)
    vmu.release_session_arena("first")
    vmu.reserve_session_arena("second", MiB)
    assert not any(vmu.read_session_arena("second", 0, MiB))


def test_too_large_arena_names_session_request_and_capacity(vmu: djinn.VirtualMemoryUnit) -> None:
    """An arena larger than the segment is out of memory, in one sentence with its remedy."""
    with pytest.raises(djinn.OutOfMemoryError, match="'big'.*2147483648.*1073741824.*GENIE_DATA_CAPACITY_MB"):
        vmu.reserve_session_arena("big", 2048 * MiB)


def test_a_refused_reservation_leaves_nothing_behind(vmu: djinn.VirtualMemoryUnit) -> None:
    """The name and the bytes stay available."""
    with pytest.raises(djinn.OutOfMemoryError):
        vmu.reserve_session_arena("a", 2048 * MiB)
    assert vmu.reserved_bytes == 0
    vmu.reserve_session_arena("a", MiB)


def test_one_arena_a_session(vmu: djinn.VirtualMemoryUnit) -> None:
    """A name in use is refused."""
    vmu.reserve_session_arena("a", MiB)
    with pytest.raises(ValueError, match="has an arena already"):
        vmu.reserve_session_arena("a", MiB)


@pytest.mark.parametrize("arena_bytes", [0, -1])
def test_empty_arena_is_refused(vmu: djinn.VirtualMemoryUnit, arena_bytes: int) -> None:
    """A size that is not positive is a user's error."""
    with pytest.raises(ValueError, match=f"{arena_bytes} bytes"):
        vmu.reserve_session_arena("a", arena_bytes)


def test_released_session_is_closed(vmu: djinn.VirtualMemoryUnit) -> None:
    """Releasing twice says that the session is gone."""
    vmu.reserve_session_arena("a", MiB)
    vmu.release_session_arena("a")
    with pytest.raises(djinn.SessionClosedError, match="'a'"):
        vmu.release_session_arena("a")


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (MiB, 1), (0, MiB + 1)])
def test_reads_stay_inside_the_arena(vmu: djinn.VirtualMemoryUnit, offset: int, length: int) -> None:
    """Neighbours cannot be read."""
    vmu.reserve_session_arena("a", MiB)
    vmu.reserve_session_arena("b", MiB)
    with pytest.raises(ValueError, match="leave the arena"):
        vmu.read_session_arena("a", offset, length)
