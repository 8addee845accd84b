"""Real trials of tiny settings, measured once by the workflow, for all tests of analysis and rendering."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ablations.analysis.aggregate import aggregate_files
from ablations.provenance.folder import result_name
from ablations.provenance.ledger import write_ledger
from ablations.rendering.everything import render_everything
from ablations.settings import STUDIES, VARIANTS


@pytest.fixture(scope="session")
def tiny_trials(measured: object, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """One measured trial of every variant, by study."""
    folder = tmp_path_factory.mktemp("trials")
    shutil.copytree(checkout / "results/tiny/trials", folder, dirs_exist_ok=True)
    return {study: [folder / study / variant / "trial_0.json" for variant in VARIANTS[study]] for study in STUDIES}


@pytest.fixture(scope="session")
def tiny_results(tiny_trials: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ablation_1.json to ablation_4.json."""
    folder = tmp_path_factory.mktemp("results")
    for study in STUDIES:
        aggregate_files(study, tiny_trials[study], folder / result_name(study))
    return folder


@pytest.fixture(scope="session")
def original(tiny_trials: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured trials, results, tables, figures and the ledger, as the scripts make them; not to be changed."""
    results = tmp_path_factory.mktemp("whole") / "results"
    for study, paths in tiny_trials.items():
        for path in paths:
            target = results / "trials" / study / path.parent.name / path.name
            target.parent.mkdir(parents=True)
            shutil.copy(path, target)
    for study in STUDIES:
        aggregate_files(study, sorted((results / "trials" / study).rglob("*.json")), results / result_name(study))
    rendered = list(render_everything(results, results.parent / "figures"))
    pictures = [path.with_suffix(".png") for path in rendered if path.suffix == ".pdf"]
    write_ledger(results, [*(results / result_name(study) for study in STUDIES), *rendered, *pictures])
    return results
