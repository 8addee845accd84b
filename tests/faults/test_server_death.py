"""A server that dies in mid-trial: its last words are in the trial's log, the rest of the workflow goes on, a rerun heals."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from running import Run

TRIAL = "results/tiny/trials/semantic_signals/reactive/trial_0.json"
OTHER = "results/tiny/ablation_2.json"
LOG = "logs/tiny/trials/semantic_signals/reactive/trial_0.log"
_PATIENCE_S = 120.0
# A trial that noticed nothing would wait for its agents for longer.
_NOTICED_WITHIN_S = 10.0


def _server_in(checkout: Path) -> psutil.Process:
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if process.info["cwd"] == str(checkout) and "djinn.server" in (process.info["cmdline"] or []):
            return process
    raise AssertionError("no server runs for this checkout")


def _await_file(path: Path) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not path.exists():
        assert time.monotonic() < deadline_s, f"{path} was never written"
        time.sleep(0.01)


def test_a_trial_whose_server_is_killed_fails_alone(own_checkout: Path) -> None:
    """Among the calls of its agents; nothing is recorded of it, the other study is, and the same command heals."""
    command = (TRIAL, OTHER, "--keep-going")
    run = Run(own_checkout, *command)
    _await_file(own_checkout / TRIAL.replace(".json", ".journal.jsonl"))
    _server_in(own_checkout).kill()
    deadline_s = time.monotonic() + _NOTICED_WITHIN_S
    while "error: " not in (own_checkout / LOG).read_text():
        assert time.monotonic() < deadline_s, "the trial has not noticed that its server is gone"
        time.sleep(0.01)
    status, said = run.end()
    assert status == 1
    (sentence,) = {line for line in said.splitlines() if line.startswith("error: ")}
    assert "The embedded server" in sentence
    assert "Traceback" not in (own_checkout / LOG).read_text()
    assert not (own_checkout / TRIAL).exists()
    assert (own_checkout / OTHER).exists()
    status, said = Run(own_checkout, *command).end()
    assert status == 0, said[-3000:]
    assert said.count("measuring ") == 1
    assert (own_checkout / TRIAL).exists()
