"""The workflow as a whole, in a copy of the repository: what is rebuilt after which change, and what is not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ablations.settings import STUDIES, VARIANTS
from support import environment_of, require_tool

Snakemake = Callable[..., subprocess.CompletedProcess[str]]
FIGURES = {
    "figure_ablation_1_os_tax",
    "figure_ablation_2_arena_latency",
    "figure_ablation_3_plan_cache",
    "figure_ablation_4_semantic_signals",
    "figure_ablation_summary",
    "figure_signals_simulation",
    "claims_figure",
}


def _planned(snakemake: Snakemake, *arguments: str) -> set[str]:
    """Return the rules that would run."""
    result = snakemake("all", "-n", "--quiet", "host", *arguments)
    assert result.returncode == 0, result.stderr[-4000:]
    output = result.stdout + result.stderr
    if "Nothing to be done" in output:
        return set()
    table = output.split("Job stats:")[1].split("total")[0]
    return {line.split()[0] for line in table.splitlines()[3:] if line.split()} - {"all", "ledger"}


@contextmanager
def _edited(path: Path, old: str, new: str) -> Iterator[None]:
    """Change a file for the duration of a test."""
    before = path.read_text()
    assert old in before, f"{path} does not contain {old!r}"
    path.write_text(before.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(before)


pytestmark = pytest.mark.usefixtures("finished")


def test_everything_is_made_in_the_tiers_own_folders(checkout: Path) -> None:
    """No tier writes into another's."""
    assert (checkout / "results/tiny/ablation_4.json").exists()
    assert (checkout / "figures/tiny/ablation_summary.pdf").exists()
    assert not list((checkout / "results").glob("*.json"))
    assert not list((checkout / "figures").glob("*.pdf"))


def test_measuring_shows_progress_and_is_logged(measured: subprocess.CompletedProcess[str], checkout: Path) -> None:
    """What runs stands on the terminal, and each job has a log."""
    assert "semantic_signals/proactive/trial_0: proactive:" in measured.stderr + measured.stdout
    logs = {path.relative_to(checkout / "logs/tiny").as_posix() for path in (checkout / "logs/tiny").rglob("*.log")}
    assert {"trials/os_tax/micro_add/trial_0.log", "aggregate/os_tax.log", "figures/ablation_summary.log"} <= logs


def test_snakemake_sleeps_while_trials_are_measured(measured: subprocess.CompletedProcess[str]) -> None:
    """It looks for jobs when one has ended, and at no other time."""
    num_jobs = measured.stderr.count("Finished jobid:")
    assert 0 < measured.stderr.count("Ready jobs: ") <= num_jobs


def test_a_second_run_has_nothing_to_do(snakemake: Snakemake) -> None:
    """Everything is up to date."""
    assert _planned(snakemake) == set()


def test_a_touch_reruns_nothing(checkout: Path, snakemake: Snakemake) -> None:
    """Contents count, not dates."""
    for name in ("ablations/studies/plan_cache.py", "djinn/core.py", "ablations/rendering/style.py"):
        (checkout / "workflow/src" / name).touch()
    assert _planned(snakemake) == set()


def test_an_edit_to_a_study_measures_that_study_again(checkout: Path, snakemake: Snakemake) -> None:
    """And nothing else."""
    path = checkout / "workflow/src/ablations/studies/plan_cache.py"
    with _edited(path, "from __future__", "# edited\nfrom __future__"):
        planned = _planned(snakemake)
    assert {"trial", "aggregate_plan_cache", "table_plan_cache", "figure_ablation_summary"} <= planned
    assert not {"aggregate_os_tax", "aggregate_session_arena", "aggregate_semantic_signals"} & planned


def test_an_edit_to_the_device_spares_the_arena_study(checkout: Path, snakemake: Snakemake) -> None:
    """It measures again exactly the studies that import it, transitively."""
    path = checkout / "workflow/src/djinn/device/dispatch.py"
    with _edited(path, "from __future__", "# edited\nfrom __future__"):
        planned = _planned(snakemake)
    assert {"aggregate_os_tax", "aggregate_plan_cache", "aggregate_semantic_signals"} <= planned
    assert "aggregate_session_arena" not in planned


def test_an_edit_to_a_template_renders_one_table(checkout: Path, snakemake: Snakemake) -> None:
    """One template, one table."""
    path = checkout / "workflow/templates/ablation_cache_table.tex.j2"
    with _edited(path, "Plan cache", "The plan cache"):
        assert _planned(snakemake) == {"table_plan_cache"}


def test_an_edit_to_the_claims_judges_again_and_measures_nothing(checkout: Path, snakemake: Snakemake) -> None:
    """Results stay, whatever is claimed of them."""
    with _edited(checkout / "config/claims.yaml", "threshold: 20", "threshold: 21"):
        planned = _planned(snakemake)
    assert {"judge", "claims_table", "claims_figure"} <= planned
    assert not [rule for rule in planned if rule == "trial" or rule.startswith(("aggregate_", "table_", "simulate"))]


def test_an_edit_to_the_style_plots_again_and_measures_nothing(checkout: Path, snakemake: Snakemake) -> None:
    """Figures only."""
    path = checkout / "workflow/src/ablations/rendering/paper.mplstyle"
    with _edited(path, "font.size: 7.5", "font.size: 7.6"):
        assert _planned(snakemake) == FIGURES


def test_an_edit_to_the_engine_simulates_again_and_measures_nothing(checkout: Path, snakemake: Snakemake) -> None:
    """No study imports the simulation."""
    path = checkout / "workflow/src/ablations/simulation/engine.py"
    simulated = {"simulate_sweeps", "simulate", "simulation_table", "figure_signals_simulation"}
    with _edited(path, "from __future__", "# edited\nfrom __future__"):
        planned = _planned(snakemake)
    assert simulated <= planned
    assert not [name for name in planned if name == "trial" or name.startswith(("aggregate", "judge"))]


def test_an_edit_to_the_validation_simulates_no_sweep_again(checkout: Path, snakemake: Snakemake) -> None:
    """Nor does a trial: the sweeps depend on settings alone."""
    path = checkout / "workflow/src/ablations/simulation/validation.py"
    with _edited(path, "from __future__", "# edited\nfrom __future__"):
        planned = _planned(snakemake)
    assert "simulate" in planned
    assert "simulate_sweeps" not in planned


def test_an_edit_to_the_statistics_aggregates_again_and_measures_nothing(checkout: Path, snakemake: Snakemake) -> None:
    """Trials are the expensive part."""
    path = checkout / "workflow/src/ablations/analysis/quantities.py"
    with _edited(path, "from __future__", "# edited\nfrom __future__"):
        planned = _planned(snakemake)
    assert "trial" not in planned
    assert "aggregate_os_tax" in planned


def test_more_trials_measure_only_what_is_new(checkout: Path, snakemake: Snakemake) -> None:
    """Finished trials stay."""
    (checkout / "more.yaml").write_text("trials: {session_arena: 2}")
    result = snakemake("all", "-n", config="more.yaml")
    assert result.returncode == 0, result.stderr[-2000:]
    output = result.stdout + result.stderr
    assert "measuring session_arena/arenas, trial 1" in output
    assert "measuring session_arena/arenas, trial 0" not in output
    assert "measuring os_tax" not in output


def test_a_lost_trial_is_measured_again_and_no_other(checkout: Path, snakemake: Snakemake) -> None:
    """Although everything that was made from it is there."""
    path = checkout / "results/tiny/trials/session_arena/arenas/trial_0.json"
    moved = path.rename(checkout / "lost.json")
    try:
        result = snakemake("all", "-n")
    finally:
        moved.rename(path)
    assert result.returncode == 0, result.stderr[-2000:]
    measured = [line for line in (result.stdout + result.stderr).splitlines() if "measuring " in line]
    assert len(measured) == 1
    assert "measuring session_arena/arenas, trial 0" in measured[0]


def test_a_lost_figure_is_drawn_again(checkout: Path, snakemake: Snakemake) -> None:
    """By its own name, from results that are there."""
    path = checkout / "figures/tiny/ablation_summary.pdf"
    before = path.read_bytes()
    path.unlink()
    result = snakemake("figures/tiny/ablation_summary.pdf")
    assert result.returncode == 0, result.stderr[-2000:]
    assert path.read_bytes() == before


def test_the_report_compiles(checkout: Path, snakemake: Snakemake) -> None:
    """Under a name of its own, since document and summary figure share theirs; nothing else is left beside it."""
    require_tool("pdflatex")
    figure = (checkout / "figures/tiny/ablation_summary.pdf").read_bytes()
    result = snakemake("report_pdf")
    assert result.returncode == 0, result.stderr[-2000:]
    assert (checkout / "figures/tiny/ablation_summary.pdf").read_bytes() == figure
    made = {path.name for path in (checkout / "figures/tiny").glob("ablation_report*")}
    assert made == {"ablation_report.pdf"}


def test_nothing_runs_beside_a_trial(measured: subprocess.CompletedProcess[str]) -> None:
    """With two cores, no job began between the beginning and the end of any trial."""
    measuring, num_trials = None, 0
    for line in (measured.stdout + measured.stderr).splitlines():
        begun = re.match(r"(?:rule|localrule) |Job (\d+): measuring", line)
        ended = re.match(r"Finished jobid: (\d+)", line)
        if begun:
            assert measuring is None, f"{line} began beside trial {measuring}"
            measuring = begun.group(1)
        if ended and ended.group(1) == measuring:
            measuring, num_trials = None, num_trials + 1
    assert num_trials == sum(len(VARIANTS[study]) for study in STUDIES)


def test_a_bad_configuration_is_one_sentence(snakemake: Snakemake) -> None:
    """With key and remedy, before anything runs."""
    result = snakemake("all", "-n", "--config", "sead=3")
    assert result.returncode != 0
    assert "key 'sead' in the configuration is unknown; did you mean 'seed'" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr + result.stdout


def test_a_damaged_trial_stops_its_aggregate_and_nothing_else(checkout: Path, snakemake: Snakemake) -> None:
    """The message names the file; the finished aggregate is not replaced by a wrong one."""
    trial = checkout / "results/tiny/trials/plan_cache/decode/trial_0.json"
    whole = trial.read_text()
    trial.write_text(whole[: len(whole) // 2])
    try:
        result = snakemake("results/tiny/ablation_3.json")
        assert result.returncode != 0
        assert "trial_0.json is not complete JSON" in result.stderr + result.stdout
        said = [line for line in result.stderr.splitlines() if line.strip()][-6:]
        assert any(line.startswith("error: Result") and "delete it" in line for line in said)
        assert any("run the same command again to go on" in line for line in said)
    finally:
        trial.write_text(whole)
        restored = snakemake("all")
        assert restored.returncode == 0, restored.stderr[-2000:]


def _ablations(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ablations", *arguments],
        cwd=checkout,
        env=environment_of(checkout),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_finished_run_is_verified_and_has_nothing_left(checkout: Path) -> None:
    """Ledger, records and status agree with the workflow."""
    verified = _ablations(checkout, "verify", "--results-dir", "results/tiny", "--recompute")
    assert verified.returncode == 0, verified.stdout
    status = _ablations(checkout, "status", "--config", "tests/tiny.yaml")
    assert "left to measure: nothing" in status.stdout, status.stdout + status.stderr
    assert "ledger: current" in status.stdout


def test_an_edited_table_stops_the_workflow(checkout: Path, snakemake: Snakemake) -> None:
    """It is named, and goes away when it is made again."""
    table = checkout / "results/tiny/ablation_cache_table.tex"
    before = table.read_bytes()
    table.write_bytes(before + b"% better\n")
    result = snakemake("all")
    assert result.returncode != 0
    assert "(ablation_cache_table.tex); delete them and make them again" in result.stderr + result.stdout
    assert _ablations(checkout, "verify", "--results-dir", "results/tiny").returncode == 1
    table.unlink()
    again = snakemake("all")
    assert again.returncode == 0, again.stderr[-2000:]
    assert table.read_bytes() == before
    assert _ablations(checkout, "verify", "--results-dir", "results/tiny").returncode == 0


@pytest.mark.parametrize(
    ("name", "trials"),
    [
        ("os_tax.micro_add.native", {"os_tax/micro_add"}),
        ("session_arena.reserve", {"session_arena/arenas"}),
        ("plan_cache.token_speedup", {"plan_cache/decode"}),
        ("semantic_signals.gain.proactive_over_lru", {"semantic_signals/proactive", "semantic_signals/lru"}),
        ("ablation_1_os_tax", {f"os_tax/{variant}" for variant in VARIANTS["os_tax"]}),
    ],
)
def test_the_command_that_explain_prints_measures_just_that(checkout: Path, name: str, trials: set[str]) -> None:
    """It is run as printed, dry: these trials and nothing else would be measured."""
    explained = _ablations(checkout, "explain", name, "--results-dir", "results/tiny")
    assert explained.returncode == 0, explained.stderr
    (line,) = (line for line in explained.stdout.splitlines() if line.startswith("measure again"))
    program, *arguments = line.removeprefix("measure again").split()
    assert program == "snakemake"
    planned = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, "--dry-run"],
        cwd=checkout,
        env=environment_of(checkout),
        capture_output=True,
        text=True,
        check=False,
    )
    assert planned.returncode == 0, planned.stderr[-2000:]
    assert set(re.findall(r"measuring (\w+/\w+), trial 0", planned.stdout + planned.stderr)) == trials


def test_results_are_compared_with_the_reference_runs(checkout: Path, snakemake: Snakemake) -> None:
    """On demand, as data, table and page; verifying takes no offence at them."""
    result = snakemake("compare")
    assert result.returncode == 0, result.stderr[-2000:]
    page = (checkout / "results/tiny/compare.txt").read_text()
    assert "Results of tier tiny on " in page
    for path in (checkout / "results/reference").glob("*/"):
        assert path.name in page
    assert (checkout / "results/tiny/compare_table.tex").exists()
    assert _ablations(checkout, "verify", "--results-dir", "results/tiny").returncode == 0


@pytest.mark.parametrize("command", [["snakemake", "--lint"], ["snakefmt", "--check", "Snakefile", "workflow/rules"]])
def test_the_workflow_is_clean(root: Path, command: list[str]) -> None:
    """By Snakemake's own linter and formatter."""
    result = subprocess.run([sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
