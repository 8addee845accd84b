"""A trial's own record says that something else used the machine."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

from ablations.measurement.contamination import ContaminationMonitor

BURN = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"


def _burner(seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BURN.format(seconds=seconds)])


def test_a_core_that_another_process_takes_is_flagged() -> None:
    """Although the machine was idle before; here the other process is a child that outlives the trial."""
    monitor = ContaminationMonitor()
    burners = [_burner(4.0) for _ in range(psutil.cpu_count() or 1)]
    time.sleep(2.0)
    report = monitor.report()
    for burner in burners:
        burner.kill()
        burner.wait()
    assert "busy_during" in report["flags"]
    assert report["foreign_cores"] > 0.5


def test_a_trials_own_processes_are_no_contamination() -> None:
    """The server computes in a child process, which is no stranger once it has ended."""
    monitor = ContaminationMonitor()
    with _burner(1.0) as child:
        child.wait()
    own = monitor.report()["foreign_cores"]
    monitor = ContaminationMonitor()
    with _burner(1.0):
        time.sleep(0.8)
        foreign = monitor.report()["foreign_cores"]
    assert own < foreign
