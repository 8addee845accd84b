"""A process hangs on another: it ends when that one does, and not before."""

from __future__ import annotations

import errno
import queue
import subprocess
import sys
import threading

import pytest

from ablations.errors import SettingsError
from ablations.measurement import lifeline

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


@pytest.mark.parametrize("process_id", [0, -1, 2**31, 10**21])
def test_a_number_that_no_process_has_is_refused(process_id: int) -> None:
    """With what it may be."""
    with pytest.raises(SettingsError, match=f"--workflow-pid is {process_id}, but processes are numbered from 1 to"):
        lifeline.hang_on(process_id)


def test_a_process_that_cannot_be_waited_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the kernel is too old."""

    def refuse(process_id: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(lifeline.os, "pidfd_open", refuse)
    with pytest.raises(SettingsError, match=r"--workflow-pid is 7, which cannot be waited for \(Function not"):
        lifeline.hang_on(7)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[int]:
    """The statuses with which this process would have ended."""
    statuses: queue.Queue[int] = queue.Queue()
    monkeypatch.setattr(lifeline.os, "_exit", statuses.put)
    return statuses


def test_a_thread_waits_and_says_why_it_ends(ends: queue.Queue[int], capsys: pytest.CaptureFixture[str]) -> None:
    """With the number of the process that is gone, and status 2."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as workflow:
        lifeline.hang_on(workflow.pid)
        (waiting,) = (thread for thread in threading.enumerate() if thread.name == "lifeline")
        assert waiting.daemon
        assert ends.empty()
        workflow.kill()
        assert ends.get(timeout=20) == 2
    waiting.join(20)
    assert (
        f"error: The workflow, process {workflow.pid}, is gone; start it again to go on.\n" in capsys.readouterr().err
    )


def test_a_process_that_never_was_is_named(
    ends: queue.Queue[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, before any thread waits for it."""

    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(lifeline.os, "_exit", leave)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with pytest.raises(SystemExit, match="2"):
        lifeline.hang_on(gone.pid)
    assert f"process {gone.pid}, is gone" in capsys.readouterr().err
