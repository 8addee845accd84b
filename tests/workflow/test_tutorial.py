"""The tutorial works as it stands: each of its blocks is applied, in order, to a copy of the repository."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import copy_repository, environment_of

# An instruction stands on the last line before its block.
_STEP = re.compile(
    r"^(?:(?P<write>Write) `(?P<new>[^`]+)`|In `(?P<file>[^`]+)`, (?P<side>above|below) `(?P<anchor>[^`]+)`|(?P<text>[^\n]*))\n\n"
    r"```(?P<language>\w*)\n(?P<block>.*?)```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture(scope="module")
def extended(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository to which the tutorial was applied, commands included."""
    folder = tmp_path_factory.mktemp("tutorial")
    copy_repository(root, folder)
    steps = list(_STEP.finditer((root / "config/ADDING.md").read_text()))
    assert len(steps) > 10
    for step in steps:
        _apply(folder, step)
    return folder


def _apply(folder: Path, step: re.Match[str]) -> None:
    if step["write"]:
        assert not (folder / step["new"]).exists()
        (folder / step["new"]).write_text(step["block"])
    elif step["file"]:
        path = folder / step["file"]
        before, anchor, after = path.read_text().partition(f"\n{step['anchor']}\n")
        assert anchor, f"{step['file']} has no line {step['anchor']!r}"
        is_above = step["side"] == "above"
        parts = [step["block"].rstrip() + "\n\n\n", anchor[1:]] if is_above else [anchor[1:], step["block"]]
        added = "".join(parts)
        path.write_text(f"{before}\n{added}{after}")
    else:
        assert step["language"] == "sh", f"{step[0]!r} says nothing of where it goes"
        _run(folder, "bash", "-c", step["block"])


def _run(folder: Path, *command: str) -> str:
    finished = subprocess.run(
        command, cwd=folder, env=environment_of(folder), capture_output=True, text=True, timeout=600, check=False
    )
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    return finished.stdout + finished.stderr


def test_the_new_study_has_a_trial_a_result_a_table_and_a_figure(extended: Path) -> None:
    """The commands of the tutorial made them all in the workflow."""
    result = json.loads((extended / "results/smoke/ablation_5.json").read_text())
    assert result["study"] == "signal_cost"
    assert result["num_trials"] == 1
    assert result["quantities"]["announce"]["value"] > result["quantities"]["ping"]["value"] > 0
    assert (extended / "results/smoke/trials/signal_cost/announced/trial_0.json").exists()
    assert r"\num{" in (extended / "results/smoke/ablation_signal_cost_table.tex").read_text()
    assert (extended / "figures/smoke/ablation_5_signal_cost.pdf").stat().st_size > 1000


def test_the_workflow_carries_it_to_the_end(extended: Path) -> None:
    """It is part of everything: six trials of it are planned, and its figure for the report."""
    planned = _run(extended, sys.executable, "-m", "snakemake", "--cores", "1", "-n", "all")
    assert len(set(re.findall(r"measuring signal_cost/announced, trial \d", planned))) == 6
    assert "figures/ablation_5_signal_cost.png" in planned


def test_what_the_tutorial_adds_keeps_the_house_in_order(extended: Path) -> None:
    """Style, formatting and types."""
    added = [str(path.relative_to(extended)) for path in (extended / "workflow/src").rglob("signal_cost.py")]
    changed = ["workflow/src/ablations/settings.py", "workflow/src/ablations/rendering/names.py"]
    assert len(added) == 3
    _run(extended, sys.executable, "-m", "ruff", "check", *added, *changed)
    _run(extended, sys.executable, "-m", "ruff", "format", "--check", *added, *changed)
    _run(extended, sys.executable, "-m", "mypy", *changed, *added)
