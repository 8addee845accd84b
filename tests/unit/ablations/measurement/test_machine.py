"""Facts about the machine need neither torch nor a measurement, and name the machine as a record does."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ablations.measurement import machine
from ablations.measurement.environment import capture_environment
from ablations.measurement.machine import IDENTITY, installed_version, machine_facts, machine_id, read_fact


def test_a_record_carries_these_facts() -> None:
    """So that a trial can be told from one of another machine without loading torch."""
    recorded, now = capture_environment(num_threads=1), machine_facts()
    for name in set(IDENTITY) & set(now):
        assert recorded[name] == now[name], name
    assert recorded["machine_id"] == machine_id(recorded)


def test_another_fact_is_another_machine_and_free_memory_is_not() -> None:
    """Its name covers what changes results."""
    facts = capture_environment(num_threads=1)
    assert machine_id(facts | {"cpu_model": "Z80"}) != machine_id(facts)
    assert machine_id(facts | {"num_threads": 2}) != machine_id(facts)
    assert machine_id(facts | {"memory_available_bytes": 1}) == machine_id(facts)


def test_asking_loads_no_torch() -> None:
    """It would take seconds."""
    program = "import sys; from ablations.measurement.machine import machine_facts; machine_facts(); print('torch' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "False"


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    """A package, and a file of the kernel."""
    assert installed_version("no-such-package") is None
    assert read_fact(tmp_path / "absent") is None


def test_facts_are_those_that_the_system_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named with their units, which `machine_id` and readers of records rely on."""
    monkeypatch.setattr(machine, "read_fact", _kernel(model="Z80 at 4 MHz"))
    facts = machine_facts()
    assert facts["cpu_model"] == "Z80 at 4 MHz"
    assert facts["cpu_governor"] == "performance"
    assert facts["memory_total_gib"] == round(psutil.virtual_memory().total / 2**30)
    assert 0 < facts["memory_available_bytes"] <= psutil.virtual_memory().total
    assert facts["kernel"] == platform.release()
    assert facts["os"] == platform.system()
    assert facts["python"] == platform.python_version()
    assert facts["cpu_cores_used"] == len(os.sched_getaffinity(0)) <= facts["cpu_cores_logical"]


def test_a_processor_that_the_kernel_does_not_name_has_the_platforms_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers without /proc."""
    monkeypatch.setattr(machine, "read_fact", lambda path: None)
    assert machine_facts()["cpu_model"] == (platform.processor() or platform.machine())


def _kernel(model: str) -> Callable[[Path], str | None]:
    """Return what reads a kernel's files, of which there are two."""
    files = {
        "/proc/cpuinfo": f"processor\t: 0\nmodel name\t: {model}\n",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
    }
    return lambda path: files.get(str(path))
