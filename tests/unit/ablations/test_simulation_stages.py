"""The simulation from the command line: a benchmark, a replay of given agents, and one sentence for what cannot run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablations.cli import main


def _trace_file(folder: Path) -> Path:
    path = folder / "traces.json"
    agents = [{"arrival_s": float(n), "waits_s": [10.0], "estimates_s": [11.0]} for n in range(3)]
    path.write_text(json.dumps(agents))
    return path


def test_the_benchmark_says_how_fast_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """For each policy."""
    assert main(["simulate", "--benchmark", "200"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["none", "reactive", "lru", "proactive", "proactive_plus"]
    assert all("events/s" in line and "lives/min" in line for line in lines)


def test_given_agents_are_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under each policy and the oracle, marked as simulated."""
    assert main(["simulate", "--traces", str(_trace_file(tmp_path)), "--num-agents", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all("(simulated): 3 of 3 agents finished" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to simulate: pass --output, or --benchmark LIVES"),
        (["--num-agents", "3"], "Nothing to simulate: pass --output, or --benchmark LIVES"),
        (
            ["--output", "x.json", "trial.json"],
            "Trials validate what was simulated before; pass that file with --simulated",
        ),
        (["--output", "x.json", "--simulated", "y.json"], "There is no trial to validate the simulation against"),
        (["--benchmark", "0"], "--benchmark is 0, but needs at least one life"),
        (["--traces", "TRACES"], "needs the number of its agents; pass --num-agents"),
        (["--traces", "TRACES", "--num-agents", "4"], "holds 3 agents, not the 4 stated"),
        (["--settings", "{", "--output", "x.json"], "--settings is not JSON"),
        (["--settings", "[]", "--output", "x.json"], "--settings is [], but must be a JSON object"),
        (
            ["--benchmark", "10", "--num-agents", "-3"],
            "--num-agents is of no use with --benchmark; leave one of the two",
        ),
        (["--output", "x.json", "--num-agents", "3"], "--num-agents is of no use with --output; leave one of the two"),
        (["--benchmark", "10", "--traces", "TRACES"], "--traces is of no use with --benchmark; leave one of the two"),
        (
            ["--benchmark", "10", "--output", "x.json"],
            "--output is of no use with --benchmark; leave one of the two out",
        ),
        (
            ["--traces", "TRACES", "--num-agents", "3", "--settings", "{}"],
            "--settings is of no use with --traces; leave",
        ),
        (["--benchmark", "10", "trial.json"], "Trials are of no use with --benchmark; leave them out"),
    ],
)
def test_what_cannot_run_is_said_in_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit status 2."""
    traces = str(_trace_file(tmp_path))
    assert main(["simulate", *(traces if one == "TRACES" else one for one in arguments)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("stage", [["figure", "--inputs", "x.json"], ["simulation-figure", "--input", "x.json"]])
def test_each_figure_has_a_file(stage: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Two figures cannot share one, and nothing is drawn before that is known."""
    assert main([stage[0], "one", "other", *stage[1:], "--output", "one.pdf"]) == 2
    assert "2 figures are to be drawn into 1 files; pass one --output for each name" in capsys.readouterr().err
