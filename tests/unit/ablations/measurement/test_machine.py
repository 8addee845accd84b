"""Facts about the machine need neither torch nor a measurement, and name the machine as a record does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
