"""A trial's own record says that something else used the machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from ablations.measurement import contamination
from ablations.measurement.contamination import ContaminationMonitor

BURN = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"


def _burner(seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BURN.format(seconds=seconds)])


def _stranger(seconds: float) -> psutil.Process:
    """Start a process that burns a core and is nobody's child: the shell that started it has ended."""
    command = [sys.executable, "-c", BURN.format(seconds=seconds)]
    started = subprocess.run(["sh", "-c", '"$@" >&- & echo $!', "sh", *command], stdout=subprocess.PIPE, check=True)
    return psutil.Process(int(started.stdout))


def test_a_core_that_another_process_takes_is_flagged() -> None:
    """Although the machine was idle before."""
    monitor = ContaminationMonitor()
    strangers = [_stranger(4.0) for _ in range(psutil.cpu_count() or 1)]
    time.sleep(2.0)
    report = monitor.report()
    for stranger in strangers:
        stranger.kill()
    assert "busy_during" in report["flags"]
    assert report["foreign_cores"] > 0.5


def test_a_trials_own_processes_are_no_contamination() -> None:
    """The server computes in a child process, which is no stranger, whether it runs or has ended."""
    with _burner(3.0) as child:
        reports = []
        for is_running in (True, False):
            monitor = ContaminationMonitor()
            time.sleep(0.8)
            if not is_running:
                child.kill()
                child.wait()
            reports.append(monitor.report()["foreign_cores"])
    monitor = ContaminationMonitor()
    stranger = _stranger(3.0)
    time.sleep(0.8)
    foreign = monitor.report()["foreign_cores"]
    stranger.kill()
    assert max(reports) < foreign


Times = namedtuple("Times", "user nice system idle steal")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine of two idle cores that a test lets time pass on; it has no steal time where that is None."""
    state: dict[str, Any] = {
        "elapsed_s": 0.0, "times": Times(0.0, 0.0, 0.0, 0.0, 0.0), "own_s": 0.0, "load": 0.5, "switches": 3
    }  # fmt: skip
    process = SimpleNamespace(
        cpu_times=lambda: (state["own_s"], 0.0, 0.0, 0.0, 99.0),
        children=lambda recursive: [],
        num_ctx_switches=lambda: SimpleNamespace(involuntary=state["switches"]),
    )
    monkeypatch.setattr(contamination.time, "monotonic", lambda: state["elapsed_s"])
    monkeypatch.setattr(contamination.os, "getloadavg", lambda: (state["load"], 0.0, 0.0))
    monkeypatch.setattr(psutil, "cpu_times", lambda: state["times"])
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    monkeypatch.setattr(psutil, "Process", lambda: process)
    return state


def test_a_quiet_machine_has_no_flags(machine: dict[str, Any]) -> None:
    """What the trial used itself is its own, and a fifth of a core is allowed."""
    monitor = ContaminationMonitor()
    machine.update(elapsed_s=10.0, own_s=8.0, times=Times(7.0, 1.0, 2.0, 10.0, 0.0), switches=8)
    assert monitor.report() == {
        "flags": [],
        "load_before": [0.5, 0.0, 0.0],
        "load_after": [0.5, 0.0, 0.0],
        "steal_pct": 0.0,
        "foreign_cores": pytest.approx(0.2),
        "involuntary_switches": 5,
    }


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ({"times": Times(6.1, 1.0, 3.0, 9.9, 0.0)}, ["busy_during"]),
        ({"times": Times(6.0, 1.0, 3.0, 9.6, 0.4)}, []),
        ({"times": Times(6.0, 1.0, 3.0, 9.5, 0.5)}, ["cpu_steal"]),
        ({"times": Times(0.0, 0.0, 0.0, 0.0, 0.0), "elapsed_s": 0.0}, []),
    ],
    ids=["another process", "some steal", "much steal", "no time"],
)
def test_what_else_ran_is_flagged_beyond_what_is_allowed(
    machine: dict[str, Any], change: dict[str, Any], flags: list[str]
) -> None:
    """A fifth of a core, and two percent of stolen time."""
    monitor = ContaminationMonitor()
    machine.update({"elapsed_s": 10.0, "own_s": 8.0, **change})
    report = monitor.report()
    assert report["flags"] == flags
    times = change["times"]
    assert report["steal_pct"] == pytest.approx(100 * times.steal / sum(times) if sum(times) else 0.0)


@pytest.mark.parametrize(("load", "flags"), [(2.0, []), (2.1, ["busy_before"])])
def test_a_machine_that_was_busy_before_is_flagged(machine: dict[str, Any], load: float, flags: list[str]) -> None:
    """With more than one runnable process for each core, whatever comes after."""
    machine["load"] = load
    monitor = ContaminationMonitor()
    machine["load"] = 0.0
    report = monitor.report()
    assert report["flags"] == flags
    assert (report["load_before"][0], report["load_after"][0]) == (load, 0.0)


def test_a_system_without_steal_time_has_none(machine: dict[str, Any]) -> None:
    """Only virtual machines of some systems count it."""
    machine["times"] = SimpleTimes(0.0, 0.0, 0.0)
    monitor = ContaminationMonitor()
    machine.update(elapsed_s=1.0, times=SimpleTimes(0.1, 0.0, 1.9))
    assert monitor.report()["steal_pct"] == 0.0


SimpleTimes = namedtuple("SimpleTimes", "user system idle")
