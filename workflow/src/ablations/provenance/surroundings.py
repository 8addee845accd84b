"""What this machine offers, asked of the system and not yet judged; nothing here loads torch unless it is asked to."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ablations.errors import MeasurementError
from ablations.measurement.machine import installed_version, machine_facts, read_fact
from ablations.settings import repository_root

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the checks look at, apart from looking, so that any machine can be examined.

    Attributes:
        facts: as a record carries them.
        pins, versions: of each package, wanted and installed.
        load: processes that ran or waited, over the last minute.
        governors: how many cores each frequency governor has; empty where the kernel does not tell.
        disk_free_bytes, memory_free_bytes: where results go; in the machine.
        memfd_error, shm_error: why memory cannot be shared in this way between processes; None where it can.
        tools: the path of each optional program, or None.
        gpus: names of accelerators that the driver shows.
        torch_device: what torch says, if it was asked.
    """

    facts: dict[str, Any]
    python: tuple[int, ...]
    pins: dict[str, str]
    versions: dict[str, str | None]
    load: float
    governors: dict[str, int]
    disk_free_bytes: int
    memory_free_bytes: int
    memfd_error: str | None
    shm_error: str | None
    tools: dict[str, str | None]
    gpus: list[str]
    torch_device: str | None = None


def look_around(*, load_torch: bool) -> Machine:
    """Ask this machine everything."""
    pins = _pins(repository_root() / "envs/requirements.txt")
    frequency = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return Machine(
        facts=machine_facts(),
        python=sys.version_info[:3],
        pins=pins,
        versions={package: installed_version(package) for package in pins},
        load=os.getloadavg()[0],
        governors=dict(Counter(read_fact(path) or "unreadable" for path in frequency)),
        disk_free_bytes=shutil.disk_usage(repository_root()).free,
        memory_free_bytes=psutil.virtual_memory().available,
        memfd_error=_error_of(_try_memfd),
        shm_error=_error_of(_try_shm),
        tools={
            "pdflatex": shutil.which("pdflatex"),
            "chromium": next(filter(None, map(shutil.which, _CHROMIUM)), None),
        },
        gpus=_gpus(),
        torch_device=_torch_device() if load_torch else None,
    )


def _pins(path: Path) -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line)


def _error_of(attempt: Callable[[], None]) -> str | None:
    try:
        attempt()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _try_memfd() -> None:
    descriptor = os.memfd_create("doctor")
    try:
        os.ftruncate(descriptor, 1 << 20)
        os.pwrite(descriptor, b"x", (1 << 20) - 1)
    finally:
        os.close(descriptor)


def _try_shm() -> None:
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        file.write(bytes(1 << 20))
        file.flush()


def _gpus() -> list[str]:
    """Return what NVIDIA's driver shows, without loading CUDA."""
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in (read_fact(path) or "").splitlines():
            if line.startswith("Model:"):
                found.append(line.partition(":")[2].strip())
    return found


def _torch_device() -> str:
    try:
        import torch
    except ImportError as error:
        raise MeasurementError(f"torch cannot be loaded ({error}); pip install -r envs/requirements.txt.") from error
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"no CUDA device ({torch.__version__})"
