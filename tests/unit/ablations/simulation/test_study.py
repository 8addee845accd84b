"""The result of the simulation, from live trials to the figures: labelled, checked, and the same each time."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from ablations.configuration import load_config
from ablations.errors import RecordError, SettingsError
from ablations.records import TrialRecord, read_record, write_result
from ablations.rendering.names import SIMULATION_FIGURES
from ablations.rendering.simulation import SIMULATION_LAYOUTS, render_simulation_figure
from ablations.rendering.simulation_table import render_simulation_table
from ablations.rendering.style import new_figure
from ablations.settings import simulation_settings
from ablations.simulation.paper import paper_scenario
from ablations.simulation.scenario import ORACLE, POLICIES
from ablations.simulation.study import validate_files
from ablations.simulation.validation import simulate_trials
from ablations.simulation.virtual import (
    NOTHING_VALIDATED,
    SCHEMA_NAME,
    parse_settings,
    simulate_settings,
    simulate_virtual,
)


@pytest.fixture(scope="module")
def result(root: Path, live_trials: list[TrialRecord]) -> dict[str, Any]:
    """The smallest simulation, once."""
    plain = simulation_settings(load_config(root / "tests/tiny.yaml"))
    manifest = [{"file": "trial_0.json", "sha256": "0" * 64}]
    return {
        **simulate_virtual(parse_settings(plain)),
        "validation": simulate_trials(live_trials),
        "settings": plain,
        "trials": manifest,
    }


@pytest.fixture(scope="module")
def result_path(result: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, checked against its schema and written."""
    path = tmp_path_factory.mktemp("simulated") / "signals_simulation.json"
    write_result(path, result, SCHEMA_NAME)
    return path


def test_it_says_that_it_is_simulated(result: dict[str, Any]) -> None:
    """So that no claim can rest on it."""
    assert result["simulated"] is True


def test_trials_that_were_simulated_are_found_again(result: dict[str, Any]) -> None:
    """Same agents, same times: no error at all, for any policy."""
    validation = result["validation"]
    assert {row["policy"] for row in validation["agents"]} == set(POLICIES)
    assert validation["median_abs_error_agents_pct"] == 0
    assert all(row["error_pct"] in (0, None) for row in validation["agents"])
    assert validation["median_abs_error_p99_pct"] == pytest.approx(0, abs=1e-9)


def test_every_policy_and_the_oracle_are_in_every_part(result: dict[str, Any]) -> None:
    """Paper and sweeps."""
    everyone = {*POLICIES, ORACLE}
    for has_pool_limit in (True, False):
        rows = [row for row in result["paper"]["crowds"] if row["has_pool_limit"] == has_pool_limit]
        assert {row["policy"] for row in rows} == everyone
        assert next(row for row in rows if row["policy"] == ORACLE)["share_of_oracle"] == 1
    assert {row["policy"] for row in result["paper"]["open"]} == everyone
    for sweep in result["sweeps"]["series"].values():
        assert {point["policy"] for point in sweep["points"]} == everyone


def test_what_a_policy_does_not_use_does_not_matter_to_it(result: dict[str, Any]) -> None:
    """The idle timeout is reactive's alone, estimates are proactive_plus's."""
    for name, users in (("idle_timeout", {"reactive"}), ("estimate_error", {"proactive_plus"})):
        points = result["sweeps"]["series"][name]["points"]
        for policy in {*POLICIES, ORACLE} - users:
            assert len({point["agents"] for point in points if point["policy"] == policy}) == 1


def test_the_papers_sizes_follow_from_its_bytes() -> None:
    """31 sessions of 1.72 GB fit 54 GB; 32 GiB hold 19 of them, and not quite 20."""
    paper = load_config().simulation.paper
    scenario = paper_scenario(paper, "proactive", has_pool_limit=True)
    assert (scenario.slots, scenario.host_slots) == (31, 19)
    assert paper.host_pool_bytes / paper.session_bytes == pytest.approx(20, rel=0.001)
    assert paper_scenario(paper, "proactive", has_pool_limit=False).host_slots is None


def test_it_is_the_same_each_time(root: Path, live_trials: list[TrialRecord], result: dict[str, Any]) -> None:
    """Number for number."""
    again = simulate_virtual(parse_settings(result["settings"])) | {"validation": simulate_trials(live_trials)}
    assert json.dumps(again) == json.dumps({name: result[name] for name in again})


def test_a_trial_without_its_calibration_is_refused(live_trials: list[TrialRecord]) -> None:
    """With what is missing."""
    samples = copy.deepcopy(live_trials[0].samples)
    del samples["calibration"]["pace_s"]
    with pytest.raises(RecordError, match="Trial 0 of none lacks 'pace_s'; delete it"):
        simulate_trials([structs.replace(live_trials[0], samples=samples)])


def test_a_trial_of_another_study_is_refused(live_trials: list[TrialRecord]) -> None:
    """With its name."""
    with pytest.raises(RecordError, match="is of study plan_cache, not semantic_signals"):
        simulate_trials([structs.replace(live_trials[0], study="plan_cache")])


def test_validation_adds_to_what_was_simulated_before_and_changes_nothing_of_it(root: Path, tmp_path: Path) -> None:
    """Trials come and go without the sweeps being simulated again."""
    before, after = tmp_path / "sweeps.json", tmp_path / "simulation.json"
    trial = root / "results/reference/intel-xeon-2-cores/trials/semantic_signals/lru/trial_0.json"
    simulate_settings(simulation_settings(load_config(root / "tests/tiny.yaml")), before)
    first = json.loads(before.read_text())
    assert first["validation"] == NOTHING_VALIDATED == simulate_trials([])
    with pytest.raises(RecordError, match="no trial to validate the simulation against"):
        validate_files(before, [], after)
    validate_files(before, [trial], after)
    second = json.loads(after.read_text())
    assert second["validation"] == json.loads(json.dumps(simulate_trials([read_record(trial)])))
    assert [entry["file"] for entry in second["trials"]] == [trial.as_posix()]
    assert {name: second[name] for name in ("paper", "sweeps", "settings")} == {
        name: first[name] for name in ("paper", "sweeps", "settings")
    }


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Before anything runs."""
    plain = simulation_settings(load_config())
    plain["simulation"]["num_seeds"] = 0
    with pytest.raises(SettingsError, match="num_seeds"):
        simulate_settings(plain, tmp_path / "result.json")


def test_figures_and_table_say_that_they_are_simulated(result_path: Path, tmp_path: Path) -> None:
    """In every title and in the caption; equal results give equal bytes."""
    assert set(SIMULATION_LAYOUTS) == set(SIMULATION_FIGURES)
    for name in SIMULATION_FIGURES:
        for folder in ("one", "other"):
            render_simulation_figure(name, result_path, tmp_path / folder / f"{name}.pdf")
        assert (tmp_path / f"one/{name}.png").read_bytes() == (tmp_path / f"other/{name}.png").read_bytes()
    table = tmp_path / "table.tex"
    render_simulation_table(result_path, table)
    assert r"\caption{SIMULATED, not measured" in table.read_text()


def test_every_panel_is_titled_simulated(result: dict[str, Any]) -> None:
    """A panel may be shown alone."""

    for _, _, _, draws in SIMULATION_LAYOUTS.values():
        for draw in draws:
            _, axes = new_figure(3, 3)
            draw(axes, result)
            assert "SIMULATED" in axes.get_title()


def test_an_unknown_figure_is_named(result_path: Path, tmp_path: Path) -> None:
    """With the closest one that exists."""
    with pytest.raises(SettingsError, match="did you mean ablation_signals_sweeps"):
        render_simulation_figure("ablation_signals_sweep", result_path, tmp_path / "x.pdf")
