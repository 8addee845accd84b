"""Real trials of tiny settings, measured once for all tests of analysis and rendering."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ablations.analysis.aggregate import aggregate_files
from ablations.settings import STUDIES, VARIANTS, load_config, trial_settings

TINY = Path(__file__).resolve().parents[1].parent / "tiny.yaml"


@pytest.fixture(scope="session")
def tiny_trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """One measured trial of every variant, by study."""
    folder = tmp_path_factory.mktemp("trials")
    config = load_config(TINY)
    paths: dict[str, list[Path]] = {}
    for study in STUDIES:
        settings = json.dumps(trial_settings(config, study))
        for variant in VARIANTS[study]:
            path = folder / study / variant / "trial_0.json"
            command = [
                sys.executable,
                "-m",
                "ablations",
                "trial",
                "--study",
                study,
                "--variant",
                variant,
                "--trial",
                "0",
            ]
            finished = subprocess.run(
                [*command, "--settings", settings, "--output", str(path)], capture_output=True, text=True, check=False
            )
            assert finished.returncode == 0, finished.stderr
            paths.setdefault(study, []).append(path)
    return paths


@pytest.fixture(scope="session")
def tiny_results(tiny_trials: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ablation_1.json to ablation_4.json."""
    folder = tmp_path_factory.mktemp("results")
    for number, study in enumerate(STUDIES, start=1):
        aggregate_files(study, tiny_trials[study], folder / f"ablation_{number}.json")
    return folder
