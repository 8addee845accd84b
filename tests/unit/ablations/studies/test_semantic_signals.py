"""The search of ablation 4 resumes, and its analytic bound is the textbook's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablations.configuration import load_config
from ablations.records import read_record
from ablations.settings import trial_settings
from ablations.studies.semantic_signals import agent_bound

TINY = Path(__file__).resolve().parents[3] / "tiny.yaml"
CALIBRATION = {
    "phase_s": 1.0,
    "swap_out_s": 0.25,
    "swap_in_s": 0.25,
    "wait_mean_s": 10.0,
    "steps": 2.0,
    "compute_s": 0.001,
}


def test_the_bound_is_the_lowest_of_memory_processor_link_and_pool() -> None:
    """Each in turn, by Little's law."""
    study = load_config(TINY).studies.semantic_signals
    assert agent_bound(study, CALIBRATION, "none", 1.0) == study.slots
    assert agent_bound(study, CALIBRATION, "proactive", 1.0) == pytest.approx(study.slots / 1.5 * 11)
    timeout = study.slots / (1.5 + study.idle_timeout_s) * 11
    assert agent_bound(study, CALIBRATION, "reactive", 1.0) == pytest.approx(timeout)
    slow = {**CALIBRATION, "compute_s": 0.5}
    assert agent_bound(study, slow, "proactive", 1.0) == pytest.approx(1 / (2 * 0.5) * 11)
    host = study.slots + study.host_pool_mb // study.arena_mb
    assert agent_bound(study, {**CALIBRATION, "wait_mean_s": 1e6}, "proactive", 1.0) == host


_TRIAL_WITHOUT_A_THREAD = """
import json, sys, threading
from pathlib import Path

from ablations.trial import run_trial

start = threading.Thread.start

def start_unless_last(thread):
    if thread.name == "agent-1":
        raise RuntimeError("can't start new thread")
    start(thread)

threading.Thread.start = start_unless_last
try:
    run_trial("semantic_signals", "proactive", 0, json.loads(sys.argv[1]), Path(sys.argv[2]))
finally:
    print([thread.name for thread in threading.enumerate() if thread.name in ("agent-0", "occupancy")])
"""


def test_a_system_that_grants_no_more_threads_ends_a_trial_with_a_sentence(tmp_path: Path) -> None:
    """The agents that had begun end, too, and nothing is recorded."""
    settings = json.dumps(trial_settings(load_config(TINY), "semantic_signals"))
    finished = subprocess.run(
        [sys.executable, "-c", _TRIAL_WITHOUT_A_THREAD, settings, str(tmp_path / "trial_0.json")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "MeasurementError: Only 2 of " in finished.stderr
    assert "threads could be started; end other programs or raise `ulimit -u`" in finished.stderr
    assert finished.stdout == "[]\n"
    assert not (tmp_path / "trial_0.json").exists()


def test_a_killed_search_goes_on_with_what_it_has(tmp_path: Path) -> None:
    """Finished probes are kept as they were; the record has them, and the journal is gone."""
    output = tmp_path / "trial_0.json"
    journal = tmp_path / "trial_0.journal.jsonl"
    settings = trial_settings(
        load_config(TINY, overrides={"studies": {"semantic_signals": {"max_probes": 5}}}), "semantic_signals"
    )
    command = [sys.executable, "-m", "ablations", "trial", "--study", "semantic_signals", "--variant", "proactive"]
    command += ["--trial", "0", "--settings", json.dumps(settings), "--output", str(output)]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 60
    while not (journal.exists() and len(journal.read_text().splitlines()) >= 4):
        assert time.monotonic() < deadline_s, "no probe was finished within a minute"
        assert first.poll() is None, "the trial ended before it could be killed"
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not output.exists()
    kept = [json.loads(line) for line in journal.read_text().splitlines()]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert f"goes on after {len(kept)} steps that an earlier process finished" in finished.stderr
    samples = read_record(output).samples
    steps = [samples["warmup"], samples["calibration"], samples["common"], *samples["probes"]]
    assert [entry["result"] for entry in kept] == steps[: len(kept)]
    content = output.read_bytes()
    output.unlink()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "was measured already" in again.stderr
    assert output.read_bytes() == content
