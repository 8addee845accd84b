"""One measuring process a machine, and a killed one holds nobody up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ablations.errors import MeasurementError
from ablations.measurement.exclusive import lock_path, measuring_alone

_HOLDER = """
import sys, time
from pathlib import Path
from ablations.measurement.exclusive import measuring_alone
with measuring_alone(path=Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_waits_until_the_first_ends(tmp_path: Path) -> None:
    """While it is held nobody gets it; the system releases it when the holder is killed."""
    lock = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(MeasurementError, match="Another trial has held"), measuring_alone(0.05, lock):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with measuring_alone(20.0, lock):
        pass


def test_the_lock_is_one_for_each_user_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the machine's own temporary folder, which no other machine shares."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("os.getuid", lambda: 7)
    assert lock_path() == tmp_path / "djinn-ablations-7.lock"
