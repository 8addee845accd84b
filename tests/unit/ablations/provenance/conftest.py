"""A whole folder of results as the workflow makes it, with its ledger, and copies of it to damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablations.analysis.aggregate import aggregate_files
from ablations.provenance.folder import result_name
from ablations.provenance.ledger import write_ledger
from ablations.rendering.everything import render_everything
from ablations.settings import STUDIES

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


@pytest.fixture(scope="session")
def original(tiny_trials: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured trials, results, tables, figures and the ledger; not to be changed."""
    results = tmp_path_factory.mktemp("whole") / "results"
    for study, paths in tiny_trials.items():
        for path in paths:
            target = results / "trials" / study / path.parent.name / path.name
            target.parent.mkdir(parents=True)
            shutil.copy(path, target)
    for study in STUDIES:
        aggregate_files(study, sorted((results / "trials" / study).rglob("*.json")), results / result_name(study))
    rendered = list(render_everything(results, results.parent / "figures"))
    write_ledger(results, [*(results / result_name(study) for study in STUDIES), *rendered, *_pictures(rendered)])
    return results


@pytest.fixture
def whole(original: Path, tmp_path: Path) -> Path:
    """A copy of all that, to damage."""
    shutil.copytree(original.parent, tmp_path / "run")
    return tmp_path / "run/results"


@pytest.fixture(scope="session")
def edit() -> Edit:
    """Change a JSON file by a function."""

    def change(path: Path, by: Callable[[dict[str, Any]], None]) -> None:
        content = json.loads(path.read_text())
        by(content)
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    return change


def _pictures(rendered: list[Path]) -> list[Path]:
    return [path.with_suffix(".png") for path in rendered if path.suffix == ".pdf"]
