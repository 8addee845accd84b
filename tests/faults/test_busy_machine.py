"""Another process takes a core during a trial: the record, the result and the verdicts say so, and nothing is dropped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ablations.records import read_record
from conftest import Run


def test_a_trial_beside_a_busy_process_is_flagged_to_the_verdicts(run_cli: Run, tmp_path: Path) -> None:
    """By commands as the workflow gives them; what was measured is kept, with what it met."""
    trial, result, claims = (tmp_path / name for name in ("trial_0.json", "ablation_2.json", "claims.json"))
    measure = ("trial", "--study", "session_arena", "--variant", "arenas", "--trial", 0, "--config", "tests/tiny.yaml")
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            measured = run_cli("-m", "ablations", *measure, "--output", trial)
        finally:
            busy.kill()
    assert measured.returncode == 0, measured.stderr
    record = read_record(trial)
    assert "busy_during" in record.contamination["flags"]
    assert record.contamination["foreign_cores"] > 0.2
    assert record.samples["reserve"]
    for stage in (
        ("aggregate", "--study", "session_arena", "--output", result, trial),
        ("judge", "--inputs", result, "--output", claims),
    ):
        finished = run_cli("-m", "ablations", *stage)
        assert finished.returncode == 0, finished.stderr
    assert "busy_during in 1 of 1 trials" in json.loads(result.read_text())["flags"]
    told = [verdict for verdict in json.loads(claims.read_text())["verdicts"] if verdict["study"] == "session_arena"]
    judged = [verdict["reason"] for verdict in told if verdict["grade"] == "inconclusive"]
    assert judged
    assert all("busy_during in 1 of 1 trials" in reason for reason in judged)
