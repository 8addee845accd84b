"""Whatever is killed and whenever: a rerun completes, finished trials stay, and nothing is left behind."""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ablations.records import read_record
from ablations.settings import STUDIES
from support import environment_of

_LONGEST_LIFE_S = 9.0


class Workflow:
    """Runs of the tiny tier in one copy of the repository, with a temporary folder of their own."""

    def __init__(self, checkout: Path, temporary: Path) -> None:
        self.checkout = checkout
        self.temporary = temporary
        self._command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "tests/tiny.yaml"]
        self._environment = environment_of(checkout, TMPDIR=str(temporary), OMP_NUM_THREADS="1")

    def start(self, target: str = "all") -> psutil.Popen:
        """Begin to make something, as a user who was interrupted would; an old lock is the user's to remove."""
        if any((self.checkout / ".snakemake/locks").glob("*")):
            self._run("--unlock").wait()
        return self._run("--rerun-incomplete", target)

    def _run(self, *arguments: str) -> psutil.Popen:
        return psutil.Popen(
            [*self._command, *arguments],
            cwd=self.checkout,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=(self.temporary.parent / "stderr").open("w"),
        )

    def finish(self, target: str = "all") -> None:
        """Make something."""
        process = self.start(target)
        assert process.wait() == 0, (self.temporary.parent / "stderr").read_text()[-3000:]

    def survivors(self) -> list[psutil.Process]:
        """Return the processes that belong to this copy."""
        found = []
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get("TMPDIR") == str(self.temporary):
                found.append(process)
        return found

    def finished_trials(self) -> dict[Path, str]:
        """Return the records that are there, each of them whole, by content."""
        found = {}
        for path in self.checkout.glob("results/tiny/trials/*/*/trial_*.json"):
            read_record(path)
            found[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found


def _kill_something(process: psutil.Popen, generator: random.Random) -> None:
    """Kill the workflow itself or any process below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        victims = [process, *process.children(recursive=True)]
        generator.choice(victims).send_signal(signal.SIGKILL)


def _await_end(workflow: Workflow, timeout_s: float = 120.0) -> None:
    """Wait until whatever was left running has noticed that it is not needed any more, or finished its own step."""
    deadline_s = time.monotonic() + timeout_s
    while left := workflow.survivors():
        assert time.monotonic() < deadline_s, f"still running: {[process.cmdline() for process in left]}"
        time.sleep(0.05)


@pytest.fixture
def workflow(finished: object, checkout: Path, tmp_path: Path) -> Iterator[Workflow]:
    """A finished workflow's copy that leaves nothing running, whatever its test does."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    shutil.copytree(checkout, tmp_path / "copy")
    made = Workflow(tmp_path / "copy", temporary)
    yield made
    for process in made.survivors():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _stop_at_the_trial(process: psutil.Popen) -> None:
    """Stop a workflow as soon as it measures, and wait until the trial has ended, which it has no part in."""
    deadline_s = time.monotonic() + 120
    while not any("--workflow-pid" in word for child in process.children() for word in _command(child)):
        assert time.monotonic() < deadline_s, "the workflow measures nothing"
        time.sleep(0.005)
    process.suspend()
    while any(child.status() != psutil.STATUS_ZOMBIE for child in process.children(recursive=True)):
        assert time.monotonic() < deadline_s, "the trial does not end"
        time.sleep(0.05)


def _command(process: psutil.Process) -> list[str]:
    """Return a process's command line; nothing of one that has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie too
        return []


def test_a_trial_that_ended_before_its_killed_workflow_noted_it_is_kept(workflow: Workflow) -> None:
    """The next run begins it again, and finds it finished; only then is its journal dropped."""
    target = "results/tiny/trials/session_arena/arenas/trial_0.json"
    trial = workflow.checkout / target
    trial.unlink()
    process = workflow.start(target)
    _stop_at_the_trial(process)
    process.kill()
    process.wait()
    before = workflow.finished_trials()
    assert trial in before
    workflow.finish(target)
    assert workflow.finished_trials() == before
    assert list(trial.parent.iterdir()) == [trial]


def test_killed_at_any_moment_a_rerun_completes(workflow: Workflow, soaks: bool) -> None:
    """Trials that were finished before are not measured again; no process and no socket survives."""
    num_kills = 60 if soaks else 3
    generator = random.Random(20_261)
    kills = 0
    _forget_a_study(workflow, generator)
    while kills < num_kills:
        before = workflow.finished_trials()
        process = workflow.start()
        time.sleep(generator.uniform(0.5, _LONGEST_LIFE_S))
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            _kill_something(process, generator)
            kills += 1
        process.wait()
        _await_end(workflow)
        after = workflow.finished_trials()
        assert {path: after.get(path) for path in before} == before, "a finished trial was measured again"
        if process.returncode == 0:
            _forget_a_study(workflow, generator)
    before = workflow.finished_trials()
    workflow.finish()
    after = workflow.finished_trials()
    assert {path: after.get(path) for path in before} == before
    _await_end(workflow)
    left = [path for path in workflow.temporary.rglob("*") if path.name.startswith("djinn-") and path.suffix != ".lock"]
    assert not left, f"left behind: {left}"
    assert not list(workflow.checkout.glob("results/tiny/**/.*.json")), "a temporary result was left"


def _forget_a_study(workflow: Workflow, generator: random.Random) -> None:
    """Remove the trials of one study, so that there is something to do."""
    study = generator.choice(sorted(STUDIES))
    for path in workflow.checkout.glob(f"results/tiny/trials/{study}/*/*"):
        path.unlink()
