"""Disks that are full, read-only or emptied under a run: one sentence, nothing half-written, and a rerun heals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import require_tool

TRIAL = (
    f"{sys.executable} -m ablations trial --study session_arena --variant arenas --trial 0 "
    "--config tests/tiny.yaml --output {folder}/trial_0.json"
)


def _in_own_mounts(root: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    """Run shell commands where mounting harms nobody else; skip where the system does not allow it."""
    require_tool("unshare")
    script = " && ".join(commands)
    flags = "-m" if os.geteuid() == 0 else "-rm"
    if subprocess.run(["unshare", flags, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system allows no mount namespaces")
    return subprocess.run(["unshare", flags, "sh", "-c", script], cwd=root, capture_output=True, text=True, check=False)


def test_a_full_disk_is_one_sentence_and_leaves_no_half_record(root: Path, tmp_path: Path) -> None:
    """The record does not fit; what was there before is still there, whole."""
    folder = tmp_path / "small"
    folder.mkdir()
    finished = _in_own_mounts(
        root,
        f"mount -t tmpfs -o size=8k tmpfs {folder}",
        f"echo old > {folder}/trial_0.json",
        f"{{ {TRIAL.format(folder=folder)}; echo status $?; ls -A {folder}; cat {folder}/trial_0.json; }}",
    )
    assert "No space left on device" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert finished.stdout.split() == ["status", "2", "trial_0.json", "old"]


def test_a_read_only_folder_is_noticed_before_anything_is_measured(root: Path, tmp_path: Path) -> None:
    """Not after hours."""
    folder = tmp_path / "fixed"
    folder.mkdir()
    finished = _in_own_mounts(
        root,
        f"mount -t tmpfs -o size=8k,ro tmpfs {folder}",
        f"{{ {TRIAL.format(folder=folder)}; echo status $?; }}",
    )
    assert finished.stdout.split() == ["status", "2"]
    assert "Read-only file system" in finished.stderr
    assert "choose a writable output directory" in finished.stderr
