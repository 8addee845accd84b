"""Signs that something else used the machine during a trial."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

import psutil

# Above one runnable process for each core, measured code waits for others.
MAX_LOAD_PER_CORE = 1.0
_MAX_STEAL_PCT = 2.0
# Processors' worth of time that other processes may use during a trial; a core that is taken counts as one.
_MAX_FOREIGN_CORES = 0.2


class ContaminationMonitor:
    """Compares the machine before and after a trial."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._load_before = os.getloadavg()
        self._times_before = psutil.cpu_times()
        self._own_before_s = _own_cpu_s()
        self._switches_before = psutil.Process().num_ctx_switches()

    def report(self) -> dict[str, Any]:
        """Return the observations and a flag for each that is out of bounds; samples are never dropped for it.

        Child processes count as the trial's own, so this belongs after their end.
        """
        times = psutil.cpu_times()
        switches = psutil.Process().num_ctx_switches()
        elapsed_s = time.monotonic() - self._start_s
        total_s = sum(times) - sum(self._times_before)
        stolen_s = getattr(times, "steal", 0.0) - getattr(self._times_before, "steal", 0.0)
        steal_pct = 100 * stolen_s / total_s if total_s > 0 else 0.0
        foreign_s = _busy_s(times) - _busy_s(self._times_before) - (_own_cpu_s() - self._own_before_s)
        foreign_cores = max(0.0, foreign_s / elapsed_s) if elapsed_s > 0 else 0.0
        flags = []
        if self._load_before[0] / (psutil.cpu_count() or 1) > MAX_LOAD_PER_CORE:
            flags.append("busy_before")
        if foreign_cores > _MAX_FOREIGN_CORES:
            flags.append("busy_during")
        if steal_pct > _MAX_STEAL_PCT:
            flags.append("cpu_steal")
        return {
            "flags": flags,
            "load_before": list(self._load_before),
            "load_after": list(os.getloadavg()),
            "steal_pct": steal_pct,
            "foreign_cores": foreign_cores,
            "involuntary_switches": switches.involuntary - self._switches_before.involuntary,
        }


def _busy_s(times: Any) -> float:
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def _own_cpu_s() -> float:
    """Return the processor time of this process and of its children, those that have ended and those that run."""
    process = psutil.Process()
    own_s = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            own_s += sum(child.cpu_times()[:4])
    return float(own_s)
