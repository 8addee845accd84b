"""Facts about this machine and its software that need neither torch nor a measurement, so that asking takes no time."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

# Facts that change results; load and free memory vary from trial to trial on one machine.
IDENTITY = (
    "cpu_model",
    "cpu_cores_logical",
    "cpu_cores_used",
    "memory_total_gib",
    "os",
    "python",
    "torch",
    "numpy",
    "num_threads",
    "accelerator",
)


def machine_facts() -> dict[str, Any]:
    """Return what is known without loading torch; the versions are those that are installed."""
    return {
        "cpu_model": _cpu_model(),
        "cpu_cores_logical": psutil.cpu_count() or 1,
        "cpu_cores_used": len(os.sched_getaffinity(0)),
        "cpu_governor": read_fact(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "memory_total_gib": round(psutil.virtual_memory().total / 1024**3),
        "memory_available_bytes": psutil.virtual_memory().available,
        "os": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "torch": installed_version("torch"),
        "numpy": installed_version("numpy"),
    }


def machine_id(facts: Mapping[str, Any]) -> str:
    """Return the name of a machine with its software, which must agree within an aggregate."""
    identity = json.dumps([facts[name] for name in IDENTITY])
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def installed_version(package: str) -> str | None:
    """Return a package's version; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def read_fact(path: Path) -> str | None:
    """Return what the kernel says in a file; None where it does not."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _cpu_model() -> str:
    for line in (read_fact(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
