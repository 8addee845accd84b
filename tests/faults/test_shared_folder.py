"""One folder, two workflows or two machines: the second is told to wait, and machines are never mixed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from running import Run
from support import require_tool

RESULT = "results/tiny/ablation_2.json"
# More than the second run's start takes.
SEVERAL = "{session_arena: 4}"
# Between a trial's end and its note Snakemake takes its record for interrupted, and tells whoever comes to use this flag.
SECOND = ("--rerun-incomplete", RESULT)
# Another name, and no sight of this machine's processes.
OTHER_HOST = ("unshare", "-u", "-p", "-f", "--mount-proc", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh")
# Another processor.
OTHER_MACHINE = 'mount --bind {cpuinfo} /proc/cpuinfo && exec "$@"'


def _ablations(checkout: Path, *arguments: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-m", "ablations", *map(str, arguments)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / "workflow/src")},
        capture_output=True,
        text=True,
        check=False,
    )


def _require_namespaces(*command: str) -> None:
    require_tool("unshare")
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system allows no namespaces of hosts, processes or mounts")


def test_a_second_workflow_is_told_to_wait_and_harms_nothing(own_checkout: Path) -> None:
    """On this machine, where `status` names the first one."""
    first = Run(own_checkout, RESULT, trials=SEVERAL)
    first.await_said("measuring session_arena")
    status, said = Run(own_checkout, *SECOND, trials=SEVERAL).end()
    assert status == 1
    assert "Directory cannot be locked. Please make sure that no other Snakemake process" in said
    assert "Traceback" not in said
    assert "running: a workflow, for " in _ablations(own_checkout, "status", "--config", "tests/tiny.yaml").stdout
    status, said = first.end()
    assert status == 0, said[-3000:]
    assert said.count("measuring session_arena") == 4
    tier = ("--config", "tests/tiny.yaml", "--config", "more.yaml")
    assert _ablations(own_checkout, "status", *tier).stdout.count("ablation_2.json is current") == 1


def test_a_workflow_on_another_machine_is_told_to_wait_and_not_to_unlock(own_checkout: Path) -> None:
    """That machine sees the lock and not the process that holds it."""
    _require_namespaces(*OTHER_HOST)
    first = Run(own_checkout, RESULT, trials=SEVERAL)
    first.await_said("measuring session_arena")
    status, said = Run(own_checkout, *SECOND, trials=SEVERAL, before=OTHER_HOST).end()
    assert status == 1
    assert "Directory cannot be locked" in said
    seen = _ablations(own_checkout, "status", "--config", "tests/tiny.yaml", before=OTHER_HOST).stdout
    assert "locked: by a run on another machine that shares this folder" in seen
    assert "first, if no other machine is at work here: snakemake" in seen
    status, said = first.end()
    assert status == 0, said[-3000:]


def test_trials_of_another_machine_are_refused_and_named(own_checkout: Path, tmp_path: Path) -> None:
    """They lie beside this machine's in one folder; what was made before stays as it is."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Z80\n")
    elsewhere = ("unshare", "-m", "sh", "-c", OTHER_MACHINE.format(cpuinfo=cpuinfo), "sh")
    _require_namespaces(*elsewhere)
    status, said = Run(own_checkout, RESULT).end()
    assert status == 0, said[-3000:]
    folder = own_checkout / "results/tiny/trials/session_arena/arenas"
    before = {path: path.read_bytes() for path in (own_checkout / RESULT, folder / "trial_0.json")}
    trial = ("trial", "--study", "session_arena", "--variant", "arenas", "--trial", 1, "--config", "tests/tiny.yaml")
    measured = _ablations(own_checkout, *trial, "--output", folder / "trial_1.json", before=elsewhere)
    assert measured.returncode == 0, measured.stderr
    trials = sorted(folder.glob("trial_?.json"))
    refused = _ablations(own_checkout, "aggregate", "--study", "session_arena", "--output", RESULT, *trials)
    assert refused.returncode == 2
    assert "come from 2 different machines or software" in refused.stderr
    assert "cpu_model is " in refused.stderr
    assert "Z80" in refused.stderr
    found = _ablations(own_checkout, "verify", "--results-dir", "results/tiny")
    assert found.returncode == 1
    named = found.stdout.partition("other machine: ")[2].splitlines()[1]
    assert named.strip() in {str(path.relative_to(own_checkout)) for path in trials}
    assert {path: path.read_bytes() for path in before} == before
