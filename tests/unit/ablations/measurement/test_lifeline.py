"""A process hangs on another: it ends when that one does, and not before."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, time
from ablations.measurement.lifeline import hang_on
hang_on(int(sys.argv[1]))
print("hanging", flush=True)
time.sleep(60)
"""


def _hang_on(process_id: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(process_id)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_it_ends_with_the_process_that_it_hangs_on() -> None:
    """Even if that one is killed; the sentence says what to do."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as workflow:
        hanging = _hang_on(workflow.pid)
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == "hanging\n"
        assert hanging.poll() is None
        workflow.kill()
    _, errors = hanging.communicate(timeout=20)
    assert hanging.returncode == 2
    assert f"The workflow, process {workflow.pid}, is gone; start it again" in errors


def test_a_process_that_is_gone_already_ends_it_at_once() -> None:
    """As when the workflow was killed while the trial was starting."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    hanging = _hang_on(gone.pid)
    output, _ = hanging.communicate(timeout=20)
    assert hanging.returncode == 2
    assert output == ""
