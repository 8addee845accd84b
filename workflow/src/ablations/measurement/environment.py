"""Facts about machine and software that a record carries, and the identity that must agree within an aggregate."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy
import psutil
import torch

from ablations.settings import repository_root

# Facts that change results; load and free memory vary from trial to trial on one machine.
_IDENTITY = (
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


def capture_environment(*, num_threads: int) -> dict[str, Any]:
    """Return the environment of this process; `num_threads` are torch's in client and server."""
    revision, is_clean = _git_state()
    facts: dict[str, Any] = {
        "cpu_model": _cpu_model(),
        "cpu_cores_logical": psutil.cpu_count() or 1,
        "cpu_cores_used": len(os.sched_getaffinity(0)),
        "cpu_governor": _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "memory_total_gib": round(psutil.virtual_memory().total / 1024**3),
        "memory_available_bytes": psutil.virtual_memory().available,
        "os": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "num_threads": num_threads,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git_revision": revision,
        "git_clean": is_clean,
    }
    identity = json.dumps([facts[name] for name in _IDENTITY])
    facts["machine_id"] = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return facts


def _cpu_model() -> str:
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _git_state() -> tuple[str | None, bool | None]:
    """Return the revision and whether the tree is clean; a tree without git has neither."""
    try:
        command = ["git", "-C", str(repository_root())]
        revision = subprocess.run([*command, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run([*command, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return revision.stdout.strip(), not status.stdout.strip()
