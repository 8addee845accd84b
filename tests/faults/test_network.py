"""Nothing needs a network: measuring runs where there is no interface at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import environment_of, require_tool


def test_a_machine_without_interfaces_is_enough(own_checkout: Path, soaks: bool, tmp_path: Path) -> None:
    """One trial of a study that starts a server; the whole workflow in the long form."""
    require_tool("unshare")
    flags = "-n" if os.geteuid() == 0 else "-rn"
    if subprocess.run(["unshare", flags, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system allows no network namespaces")
    if soaks:
        command = ["-m", "snakemake", "--cores", "2", "all", "--configfile", "tests/tiny.yaml"]
    else:
        command = ["-m", "ablations", "trial", "--study", "plan_cache", "--variant", "decode", "--trial", "0"]
        command += ["--config", "tests/tiny.yaml", "--output", str(tmp_path / "trial_0.json")]
    finished = subprocess.run(
        ["unshare", flags, sys.executable, *command],
        cwd=own_checkout,
        env=environment_of(own_checkout),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
