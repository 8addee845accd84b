"""Signs that something else used the machine during a trial."""

from __future__ import annotations

import os
from typing import Any

import psutil

# Above one runnable process for each core, measured code waits for others.
MAX_LOAD_PER_CORE = 1.0
_MAX_STEAL_PCT = 2.0


class ContaminationMonitor:
    """Compares the machine before and after a trial."""

    def __init__(self) -> None:
        self._load_before = os.getloadavg()
        self._times_before = psutil.cpu_times()
        self._switches_before = psutil.Process().num_ctx_switches()

    def report(self) -> dict[str, Any]:
        """Return the observations and a flag for each that is out of bounds; samples are never dropped for it."""
        times = psutil.cpu_times()
        switches = psutil.Process().num_ctx_switches()
        total_s = sum(times) - sum(self._times_before)
        stolen_s = getattr(times, "steal", 0.0) - getattr(self._times_before, "steal", 0.0)
        steal_pct = 100 * stolen_s / total_s if total_s > 0 else 0.0
        flags = []
        if self._load_before[0] / (psutil.cpu_count() or 1) > MAX_LOAD_PER_CORE:
            flags.append("busy_before")
        if steal_pct > _MAX_STEAL_PCT:
            flags.append("cpu_steal")
        return {
            "flags": flags,
            "load_before": list(self._load_before),
            "load_after": list(os.getloadavg()),
            "steal_pct": steal_pct,
            "involuntary_switches": switches.involuntary - self._switches_before.involuntary,
        }
