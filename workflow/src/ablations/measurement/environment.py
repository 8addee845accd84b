"""The environment that a record carries: the machine, what a measuring process loaded, and the state of the checkout."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy
import torch

from ablations.measurement.machine import machine_facts, machine_id
from ablations.settings import repository_root

# What nvidia-smi is asked for: the first two stay the same on one machine.
_GPU_FACTS = {
    "name": "name",
    "driver": "driver_version",
    "sm_clock_mhz": "clocks.sm",
    "memory_clock_mhz": "clocks.mem",
    "max_sm_clock_mhz": "clocks.max.sm",
    "power_w": "power.draw",
    "temperature_c": "temperature.gpu",
}


def capture_environment(*, num_threads: int) -> dict[str, Any]:
    """Return the environment of this process; `num_threads` are torch's in client and server."""
    revision, is_clean = _git_state()
    facts: dict[str, Any] = {
        **machine_facts(),
        # What is loaded counts, which may be another version than the one that is installed now.
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "num_threads": num_threads,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git_revision": revision,
        "git_clean": is_clean,
    }
    return {**facts, "machine_id": machine_id(facts)}


def capture_gpu() -> dict[str, str] | None:
    """Return name, driver, clocks, power and temperature of the first CUDA device now; None without one or without its tool."""
    if not torch.cuda.is_available():
        return None
    query = ["nvidia-smi", f"--query-gpu={','.join(_GPU_FACTS.values())}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return dict(zip(_GPU_FACTS, (item.strip() for item in answer.stdout.split(",")), strict=False))


def _git_state() -> tuple[str | None, bool | None]:
    """Return the revision and whether the tree is clean; a tree without git has neither."""
    try:
        command = ["git", "-C", str(repository_root())]
        revision = subprocess.run([*command, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run([*command, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return revision.stdout.strip(), not status.stdout.strip()
