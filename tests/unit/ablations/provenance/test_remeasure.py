"""The command that measures again names what is to be measured, where it lies, and with which configuration."""

from __future__ import annotations

from pathlib import Path

from ablations.provenance.remeasure import remeasure_command
from ablations.provenance.tiers import known_tiers


def test_the_workflows_folder_is_measured_by_the_workflow(root: Path) -> None:
    """Each trial is forced by its file."""
    command = remeasure_command(root / "results", known_tiers()["laptop"], "plan_cache", [("decode", 0), ("decode", 5)])
    trials = "results/trials/plan_cache/decode/trial_{}.json"
    forced = f"{trials.format(0)} {trials.format(5)}"
    assert command == f"snakemake --cores 1 results/ablation_3.json --forcerun {forced}"


def test_another_tier_names_its_configuration_before_what_is_forced(root: Path) -> None:
    """Both options take several words."""
    command = remeasure_command(root / "results/tiny", known_tiers()["tiny"], "plan_cache", [("decode", 0)])
    assert "results/tiny/ablation_3.json --configfile tests/tiny.yaml --forcerun results/tiny/trials/" in command


def test_a_reference_run_is_measured_again_into_the_tiers_own_folder(root: Path) -> None:
    """The committed one is not overwritten; trials that the configuration has no longer are left out."""
    folder = root / "results/reference/some-machine"
    command = remeasure_command(folder, known_tiers()["laptop"], "plan_cache", [("decode", 0), ("decode", 500)])
    assert "reference" not in command
    assert command.endswith("--forcerun results/trials/plan_cache/decode/trial_0.json")


def test_peers_are_measured_by_the_workflow_alone(root: Path) -> None:
    """They have no script."""
    command = remeasure_command(root / "results", known_tiers()["laptop"], "peers", [("micro_add", 0)])
    assert command.startswith("snakemake --cores 1 results/peers.json --forcerun results/trials/peers/micro_add/")


def test_an_unknown_tier_is_said_so(tmp_path: Path) -> None:
    """Without its configuration nothing can be measured again."""
    assert "pass it as --config" in remeasure_command(tmp_path, None, "plan_cache", [("decode", 0)])
