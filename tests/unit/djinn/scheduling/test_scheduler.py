"""The scheduler with real memory: what a session stored survives, and waiting is fair and quiet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from djinn.config import Config, SchedulingMode
from djinn.errors import OutOfMemoryError, SessionClosedError
from djinn.memory.vmu import VirtualMemoryUnit
from djinn.scheduling.policies import make_policy
from djinn.scheduling.scheduler import Scheduler
from djinn.scheduling.swap_pool import SwapPool
from djinn.units import TENSOR_ALIGNMENT_BYTES, MiB

Make = Callable[..., Scheduler]


class Bench:
    """Makes schedulers over one memory unit and stops them."""

    def __init__(self) -> None:
        self.vmu = VirtualMemoryUnit(Config(data_capacity_mb=64))
        self._made: list[Scheduler] = []

    def scheduler(
        self,
        mode: SchedulingMode,
        *,
        slots: int = 1,
        timeout_s: float = 20.0,
        pool_mb: int = 64,
        idle_timeout_s: float = 0.01,
    ) -> Scheduler:
        """A scheduler whose budget holds `slots` arenas of 1 MiB."""
        scheduler = Scheduler(
            self.vmu,
            SwapPool(self.vmu.data.region),
            make_policy(mode, idle_timeout_s=idle_timeout_s),
            budget_bytes=slots * MiB,
            pool_bytes=pool_mb * MiB,
            admission_timeout_s=timeout_s,
        )
        self._made.append(scheduler)
        return scheduler

    def write(self, session_id: str, content: bytes) -> None:
        """Store content at the start of a session's arena."""
        self.vmu.data.arena(session_id).allocate(len(content))
        self.vmu.write_session_arena(session_id, 0, content)

    def close(self) -> None:
        """Stop every scheduler and audit memory."""
        for scheduler in self._made:
            scheduler.check_integrity()
            scheduler.stop()
        self.vmu.check_integrity()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench that audits itself afterwards."""
    made = Bench()
    yield made
    made.close()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing happened within 20 s"
        time.sleep(0.002)


def test_bytes_survive_eviction_and_return(bench: Bench) -> None:
    """A signal moves them out, the next request moves them back, unchanged."""
    scheduler = bench.scheduler("proactive")
    scheduler.open("a", MiB)
    content = bytes(range(256)) * 1024
    bench.write("a", content)
    before = scheduler.checksum("a")
    scheduler.signal("a", "IO_WAIT")
    _until(lambda: scheduler.stats()["evictions"] == 1)
    assert not any(bench.vmu.read_session_arena("a", 0, len(content))), "an evicted arena gives its pages back"
    assert scheduler.checksum("a") == before
    with scheduler.running(["a"]):
        assert bench.vmu.read_session_arena("a", 0, len(content)) == content
    assert scheduler.checksum("a") == before
    assert scheduler.stats()["host_pool_used_bytes"] == 0


def test_mode_none_is_out_of_memory_at_once(bench: Bench) -> None:
    """Nobody can be evicted, so waiting would be pointless; the message names request, use and budget."""
    scheduler = bench.scheduler("none")
    scheduler.open("a", MiB)
    with pytest.raises(OutOfMemoryError, match=r"'b' needs 1048576 .* 1048576 of the budget of 1048576"):
        scheduler.open("b", MiB)
    assert scheduler.stats()["num_sessions"] == 1
    assert scheduler.stats()["rejections"] == 1


def test_an_arena_beyond_the_whole_budget_is_told_so(bench: Bench) -> None:
    """No session that is closed would help."""
    scheduler = bench.scheduler("proactive")
    with pytest.raises(OutOfMemoryError, match=r"'b' needs 2097152 .* the budget is 1048576; ask for less or raise"):
        scheduler.open("b", 2 * MiB)


def test_reactive_evicts_the_idle_for_a_newcomer(bench: Bench) -> None:
    """Without any signal the second session gets in once the first was idle."""
    scheduler = bench.scheduler("reactive")
    scheduler.open("a", MiB)
    bench.write("a", b"kept")
    scheduler.open("b", MiB)
    assert scheduler.stats()["evictions"] == 1
    scheduler.close("b")
    with scheduler.running(["a"]):
        assert bench.vmu.read_session_arena("a", 0, 4) == b"kept"


def test_a_running_session_is_never_evicted(bench: Bench) -> None:
    """A newcomer waits until the request has ended."""
    scheduler = bench.scheduler("reactive")
    scheduler.open("a", MiB)
    opened = threading.Event()

    def open_second() -> None:
        scheduler.open("b", MiB)
        opened.set()

    with scheduler.running(["a"]):
        thread = threading.Thread(target=open_second)
        thread.start()
        assert not opened.wait(0.1)
    assert opened.wait(20)
    thread.join()


def test_waiting_for_memory_ends_with_an_error(bench: Bench) -> None:
    """Nobody waits for ever."""
    scheduler = bench.scheduler("proactive", timeout_s=0.05)
    scheduler.open("a", MiB)
    with pytest.raises(OutOfMemoryError, match="signal IO_WAIT"):
        scheduler.open("b", MiB)


def test_memory_goes_to_waiters_in_order(bench: Bench) -> None:
    """Who asked first is served first."""
    scheduler = bench.scheduler("proactive")
    scheduler.open("first", MiB)
    order: list[str] = []

    def take(name: str) -> None:
        scheduler.open(name, MiB)
        order.append(name)
        scheduler.close(name)

    threads = []
    for name in ("b", "c", "d"):
        threads.append(threading.Thread(target=take, args=(name,)))
        threads[-1].start()
        _until(lambda: scheduler.stats()["num_waiting"] == len(threads))
    scheduler.close("first")
    for thread in threads:
        thread.join()
    assert order == ["b", "c", "d"]


def test_a_full_host_pool_keeps_sessions_where_they_are(bench: Bench) -> None:
    """An eviction that does not fit is not begun, and nothing is lost."""
    scheduler = bench.scheduler("proactive", slots=2, pool_mb=1, timeout_s=0.1)
    for name in ("a", "b"):
        scheduler.open(name, MiB)
        bench.write(name, name.encode() * (MiB - 64))
        scheduler.signal(name, "IO_WAIT")
    _until(lambda: scheduler.stats()["evictions"] == 1)
    scheduler.open("c", MiB)
    with pytest.raises(OutOfMemoryError, match="no host memory is left .* raise GENIE_HOST_POOL_MB"):
        scheduler.open("d", MiB)
    assert scheduler.stats()["evictions"] == 1


def test_unknown_phase_is_named(bench: Bench) -> None:
    """The message shows what may be signalled."""
    scheduler = bench.scheduler("proactive")
    scheduler.open("a", MiB)
    with pytest.raises(ValueError, match="'THINKING' is unknown; signal one of IO_WAIT, COMPUTE"):
        scheduler.signal("a", "THINKING")


@pytest.mark.parametrize("estimate_ms", [-1.0, float("inf"), float("nan")])
def test_impossible_estimates_are_refused(bench: Bench, estimate_ms: float) -> None:
    """A policy must be able to sort by them."""
    scheduler = bench.scheduler("proactive")
    scheduler.open("a", MiB)
    with pytest.raises(ValueError, match="estimated_resume_ms"):
        scheduler.signal("a", "IO_WAIT", estimate_ms)


def test_a_closed_session_is_not_open(bench: Bench) -> None:
    """Every use after the end says so, and an evicted session's pool bytes are freed."""
    scheduler = bench.scheduler("proactive")
    scheduler.open("a", MiB)
    bench.write("a", b"x" * 1000)
    scheduler.signal("a", "IO_WAIT")
    _until(lambda: scheduler.stats()["evictions"] == 1)
    scheduler.close("a")
    assert scheduler.stats()["host_pool_used_bytes"] == 0
    assert scheduler.stats()["resident_bytes"] == 0
    for use in (
        lambda: scheduler.close("a"),
        lambda: scheduler.signal("a", "COMPUTE"),
        lambda: scheduler.checksum("a"),
    ):
        with pytest.raises(SessionClosedError, match="'a' is not open"):
            use()


def test_no_signal_is_acted_upon_without_signals(bench: Bench) -> None:
    """In the other modes a signal changes nothing but a counter."""
    scheduler = bench.scheduler("reactive", idle_timeout_s=1000.0)
    scheduler.open("a", MiB)
    scheduler.signal("a", "IO_WAIT", 10.0)
    assert scheduler.stats()["signals"] == 1
    assert scheduler.stats()["evictions"] == 0


def test_lru_makes_room_without_a_signal(bench: Bench) -> None:
    """The longest idle leaves when somebody asks for memory, and comes back with its bytes."""
    scheduler = bench.scheduler("lru", slots=2)
    for name in ("a", "b"):
        scheduler.open(name, MiB)
        bench.write(name, name.encode() * 64)
    with scheduler.running(["a"]):
        pass
    scheduler.open("c", MiB)
    assert scheduler.stats()["evictions"] == 1
    assert bench.vmu.read_session_arena("a", 0, 1) == b"a"
    assert bench.vmu.read_session_arena("b", 0, 1) == b"\0"
    with scheduler.running(["b"]) as restore_us:
        assert bench.vmu.read_session_arena("b", 0, 64) == b"b" * 64
    assert restore_us > 0


def test_a_clean_copy_is_taken_without_moving_bytes_and_brought_back_in_time(bench: Bench) -> None:
    """Mode proactive_plus: written back at the signal, reclaimed on demand, prefetched before the estimate."""
    scheduler = bench.scheduler("proactive_plus")
    scheduler.open("a", MiB)
    content = bytes(range(256)) * 1024
    bench.write("a", content)
    before = scheduler.checksum("a")
    scheduler.signal("a", "IO_WAIT", 300.0)
    _until(lambda: scheduler.stats()["swapped_out_bytes"] > 0)
    moved_bytes = scheduler.stats()["swapped_out_bytes"]
    scheduler.open("b", MiB)
    assert scheduler.stats()["reclaims"] == scheduler.stats()["evictions"] == 1
    assert scheduler.stats()["swapped_out_bytes"] == moved_bytes
    assert scheduler.checksum("a") == before
    scheduler.close("b")
    _until(lambda: scheduler.stats()["prefetches"] == 1)
    _until(lambda: scheduler.stats()["swapped_in_bytes"] > 0)
    with scheduler.running(["a"]):
        assert bench.vmu.read_session_arena("a", 0, len(content)) == content


def test_only_what_changed_is_written_back_again(bench: Bench) -> None:
    """One byte changed is one block moved, and the copy is whole all the same."""
    scheduler = bench.scheduler("proactive_plus", slots=2)
    scheduler.open("a", MiB)
    bench.write("a", b"x" * 65_536)
    scheduler.signal("a", "IO_WAIT")
    _until(lambda: scheduler.stats()["swapped_out_bytes"] == 65_536)
    with scheduler.running(["a"]):
        bench.vmu.write_session_arena("a", 1000, b"y")
    scheduler.signal("a", "IO_WAIT")
    _until(lambda: scheduler.stats()["swapped_out_bytes"] == 65_536 + TENSOR_ALIGNMENT_BYTES)
    for name in ("b", "c"):
        scheduler.open(name, MiB)
    scheduler.close("c")
    with scheduler.running(["a"]):
        assert bench.vmu.read_session_arena("a", 0, 65_536) == b"x" * 1000 + b"y" + b"x" * 64_535
