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
