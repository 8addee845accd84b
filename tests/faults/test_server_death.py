"""A server that dies in mid-trial: a typed error at once, its last words in the log, and a rerun heals."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil


def _server_of(trial: psutil.Popen) -> psutil.Process:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        for child in trial.children(recursive=True):
            if "djinn.server" in child.cmdline():
                return child
        time.sleep(0.01)
    raise AssertionError("the trial started no server")


def test_a_trial_whose_server_is_killed_fails_at_once_and_says_why(root: Path, tmp_path: Path) -> None:
    """In the middle of its calls; nothing is recorded, and the same command works afterwards."""
    output = tmp_path / "trial_0.json"
    # The default tier's model, whose calls take seconds: time enough to kill the server among them.
    config = tmp_path / "config.yaml"
    config.write_text("studies: {plan_cache: {sequences: 2}}")
    command = [sys.executable, "-m", "ablations", "trial", "--study", "plan_cache", "--variant", "decode"]
    command += ["--trial", "0", "--config", str(config), "--output", str(output)]
    trial = psutil.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)
    server = _server_of(trial)
    imports_s = 0.0
    while server.num_threads() < 6 and trial.poll() is None:  # its connection's thread comes with the first call
        imports_s = server.cpu_times().user
        time.sleep(0.005)
    while server.cpu_times().user < imports_s + 0.2:
        time.sleep(0.005)
    server.kill()
    _, errors = trial.communicate(timeout=60)
    assert trial.returncode == 2, errors
    assert "The embedded server" in errors
    assert "Traceback" not in errors
    assert not output.exists()
    assert subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 0
    assert output.exists()
