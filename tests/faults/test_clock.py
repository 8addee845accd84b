"""A clock of the day that is set back: durations stay right, nothing is rebuilt for ever, and nothing stale is kept."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ablations.measurement.journal import journal_path
from ablations.records import read_record
from running import Run
from support import copy_repository, require_tool

RESULT = "results/tiny/ablation_2.json"
TRIAL = "results/tiny/trials/session_arena/arenas/trial_0.json"
_HOUR_S = 3600


@pytest.fixture(scope="session")
def stepping_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that shifts the clock of the day alone; libfaketime shifts sleeping and the monotonic clock with it."""
    library = tmp_path_factory.mktemp("clock") / "stepping_clock.so"
    source = Path(__file__).parent / "stepping_clock.c"
    subprocess.run([require_tool("cc"), "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def _num_lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def _numbers(content: Any) -> list[float]:
    if isinstance(content, dict):
        return [number for value in content.values() for number in _numbers(value)]
    if isinstance(content, list):
        return [number for value in content for number in _numbers(value)]
    return [content] if isinstance(content, int | float) else []


def test_a_clock_that_steps_during_a_trial_changes_no_duration(
    root: Path, tmp_path: Path, stepping_clock: Path
) -> None:
    """Back and then forth, in the trial and in its server, whose waits and timeouts run meanwhile."""
    shift, output = tmp_path / "shift_s", tmp_path / "trial_0.json"
    shift.write_text("0")
    command = ["trial", "--study", "semantic_signals", "--variant", "reactive", "--trial", "0"]
    begun_s = time.monotonic()
    trial = subprocess.Popen(
        [sys.executable, "-m", "ablations", *command, "--config", "tests/tiny.yaml", "--output", str(output)],
        cwd=root,
        env={**os.environ, "LD_PRELOAD": str(stepping_clock), "STEPPING_CLOCK": str(shift)},
        stderr=subprocess.PIPE,
        text=True,
    )
    for num_steps, shift_s in ((1, -_HOUR_S), (2, _HOUR_S)):
        while _num_lines(journal_path(output)) < num_steps:
            assert trial.poll() is None, "the trial ended before the clock stepped"
            time.sleep(0.01)
        shift.write_text(str(shift_s))
    _, said = trial.communicate(timeout=300)
    elapsed_s = time.monotonic() - begun_s
    assert trial.returncode == 0, said[-3000:]
    record = read_record(output)
    assert 0 < record.duration_s < elapsed_s
    durations_ms = _numbers([values for name, values in record.samples["common"].items() if name.endswith("_ms")])
    assert durations_ms
    assert min(durations_ms) >= 0
    assert max(durations_ms) < 1e3 * elapsed_s


@pytest.fixture(scope="module")
def dated_ahead(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository whose trial and result were made before the clock was set back by an hour."""
    checkout = tmp_path_factory.mktemp("ahead") / "checkout"
    copy_repository(root, checkout)
    status, said = Run(checkout, RESULT).end()
    assert status == 0, said[-3000:]
    for path in (checkout / "results/tiny").rglob("*.json"):
        _date(path, _HOUR_S)
    return checkout


def _date(path: Path, ahead_s: int) -> None:
    made_s = path.stat().st_mtime
    os.utime(path, (made_s + ahead_s, made_s + ahead_s))


def test_results_of_the_future_are_not_made_again_for_ever(dated_ahead: Path) -> None:
    """Neither both of them, nor a trial that is younger than its result."""
    for _ in range(2):
        status, said = Run(dated_ahead, RESULT).end()
        assert status == 0, said[-3000:]
        assert "Nothing to be done" in said
        _date(dated_ahead / RESULT, -_HOUR_S // 2)


def test_a_trial_that_was_measured_again_counts_although_it_is_older_than_its_predecessors_result(
    dated_ahead: Path,
) -> None:
    """The run that measured it did not get as far as the result; the next one takes it in, once."""
    trial, result = dated_ahead / TRIAL, dated_ahead / RESULT
    trial.unlink()
    status, said = Run(dated_ahead, TRIAL).end()
    assert status == 0, said[-3000:]
    _date(result, 2 * _HOUR_S)
    assert trial.stat().st_mtime < result.stat().st_mtime
    status, said = Run(dated_ahead, RESULT).end()
    assert status == 0, said[-3000:]
    assert "rule aggregate_session_arena" in said
    assert "measuring" not in said
    (taken_in,) = json.loads(result.read_text())["trials"]
    assert taken_in["sha256"] == hashlib.sha256(trial.read_bytes()).hexdigest()
    status, said = Run(dated_ahead, RESULT, "--dry-run").end()
    assert "Nothing to be done" in said


def test_an_edit_counts_although_it_is_older_than_what_was_made_before(dated_ahead: Path) -> None:
    """The file's content tells, whatever its date."""
    with (dated_ahead / "workflow/src/ablations/studies/session_arena.py").open("a") as file:
        file.write("# edited\n")
    _date(dated_ahead / TRIAL, _HOUR_S)
    status, said = Run(dated_ahead, RESULT).end()
    assert status == 0, said[-3000:]
    assert said.count("measuring session_arena") == 1
