"""The study's scripts as its users call them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = "workflow/scripts"


def test_measuring_keeps_finished_trials(run_cli: Any, root: Path, tmp_path: Path) -> None:
    """Flags of the specification are taken; a second run measures nothing again; other flags measure again."""
    arguments = [f"{SCRIPTS}/ablation_session_arena.py", "--config", "tests/tiny.yaml", "--output-dir", tmp_path]
    flags = ["--arena-sizes", "1", "3", "--n-sessions", "10"]
    first = run_cli(*arguments, *flags, "--n-trials", "1")
    assert first.returncode == 0, first.stderr
    assert "1/1" in first.stderr
    trial = tmp_path / "trials/session_arena/arenas/trial_0.json"
    written = trial.stat().st_mtime_ns
    assert {entry["size_mb"] for entry in json.loads(trial.read_text())["samples"]["reserve"]} == {1, 3}
    assert (tmp_path / "ablation_arena_table.tex").exists()
    more = run_cli(*arguments, *flags, "--n-trials", "2")
    assert more.returncode == 0, more.stderr
    assert trial.stat().st_mtime_ns == written
    assert json.loads((tmp_path / "ablation_2.json").read_text())["num_trials"] == 2
    other = run_cli(*arguments, "--arena-sizes", "1", "2", "--n-sessions", "10", "--n-trials", "1")
    assert other.returncode == 0, other.stderr
    assert trial.stat().st_mtime_ns != written


def test_running_all_skips_what_it_is_told(run_cli: Any, tmp_path: Path) -> None:
    """Only the plan cache is measured; its figures can be drawn."""
    finished = run_cli(
        f"{SCRIPTS}/run_all_ablations.py", "--skip-ablation", "1", "2", "4", "--output-dir", tmp_path / "results",
        "--config", "tests/tiny.yaml",
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert [path.name for path in (tmp_path / "results").glob("ablation_*.json")] == ["ablation_3.json"]
    drawn = run_cli(f"{SCRIPTS}/generate_ablation_figures.py", "--results-dir", tmp_path / "results")
    assert drawn.returncode == 0, drawn.stderr
    assert "without os_tax" in drawn.stderr
    assert (tmp_path / "figures/ablation_3_plan_cache.pdf").exists()
    ledger = json.loads((tmp_path / "results/ledger.json").read_text())["files"]
    assert {"ablation_3.json", "ablation_cache_table.tex", "../figures/ablation_3_plan_cache.png"} <= set(ledger)
    verified = run_cli("-m", "ablations", "verify", "--results-dir", tmp_path / "results")
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run_all_ablations.py", "--skip-ablation", "7"], "invalid choice: 7"),
        (["ablation_plan_cache.py", "--n-tokens", "100000"], "needs 100000 tokens"),
        (["ablation_session_arena.py", "--arena-sizes", "0"], "arena_sizes_mb"),
        (["ablation_os_tax.py", "--n-trials", "0"], "trials.os_tax is 0"),
        (["ablation_os_tax.py", "--config", "absent.yaml"], "absent.yaml cannot be read"),
        (["generate_ablation_figures.py", "--results-dir", "x" * 300], "(File name too long); check the path"),
        (["generate_ablation_figures.py", "--results-dir", "absent"], "measure first or pass --results-dir"),
        (["ablation_os_tax.py", "--output-dir", "/proc/nowhere"], "choose a writable output directory"),
    ],
)
def test_bad_input_is_one_sentence(run_cli: Any, arguments: list[str], message: str) -> None:
    """Status 2, the value, the remedy, no traceback."""
    finished = run_cli(f"{SCRIPTS}/{arguments[0]}", *arguments[1:])
    assert finished.returncode == 2
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr


def test_measuring_needs_no_plotting_and_no_workflow_engine(run_cli: Any, tmp_path: Path) -> None:
    """With Snakemake, matplotlib and Jinja2 made unimportable a trial and its script still run."""
    blocker = tmp_path / "sitecustomize.py"
    blocker.write_text(
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'snakemake', 'matplotlib', 'jinja2'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
    )
    finished = run_cli(
        "-m", "ablations", "trial", "--study", "session_arena", "--variant", "arenas", "--trial", "0",
        "--config", "tests/tiny.yaml", "--output", tmp_path / "out" / "trial_0.json", PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "out/trial_0.json").exists()
    assert sys.executable
