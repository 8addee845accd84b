"""What a result was made from, as one hash: equal hashes and unequal contents mean that somebody edited the result.

Aggregating and rendering give the same bytes from the same inputs, so that for them the hash covers inputs, code and
packages. A trial is never the same twice; its hash names the one process that measured it.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from ablations.errors import RecordError
from ablations.measurement.machine import installed_version
from ablations.measurement.sources import module_sources, sources_hash
from ablations.provenance.folder import TrialHead, displayed, file_sha256, locate_trial, read_head, result_name
from ablations.records import read_result
from ablations.rendering.names import (
    CLAIMS_FIGURE,
    CLAIMS_TABLE,
    EXTRA_TABLE_NAMES,
    FIGURES,
    SIMULATION_FIGURES,
    SIMULATION_RESULT,
    SIMULATION_SWEEPS,
    SIMULATION_TABLE,
    TABLE_NAMES,
)
from ablations.settings import MEASURABLE, STUDIES, repository_root

_AGGREGATING = ("numpy", "scipy", "pandas")
_RENDERING = (*_AGGREGATING, "matplotlib", "jinja2")
# Whatever may take part in rendering and judging. The ledger's rule depends on all of it, so that it is written anew
# after every change; what a single table depends on is known to that table's rule.
_RENDERING_FILES = (
    "workflow/src/ablations/**/*.py",
    "workflow/src/ablations/**/*.mplstyle",
    "workflow/templates/**/*.j2",
    "workflow/report/*.rst",
    "config/*.yaml",
    "envs/requirements.txt",
)
_DERIVED = (f"{SIMULATION_RESULT}.json", "claims.json")
# What one template each makes; documents and pages are put together from several.
_TABLES = {*TABLE_NAMES.values(), *EXTRA_TABLE_NAMES.values(), CLAIMS_TABLE, SIMULATION_TABLE}
_FIGURES = {*FIGURES, *SIMULATION_FIGURES, CLAIMS_FIGURE}


def trial_made_from(head: TrialHead) -> str:
    """Return the hash that names the process which measured a trial."""
    return _digest(
        head.study, head.variant, head.trial, head.settings_sha256, head.sources_sha256,
        head.environment.get("machine_id"), head.started_at,
    )  # fmt: skip


def result_made_from(results_dir: Path, path: Path) -> str | None:
    """Return the hash of an aggregated result's trials and code; None if a trial is lost or the result is damaged."""
    try:
        result = read_result(path, "aggregated")
        trials = [file_sha256(locate_trial(results_dir, result["study"], entry)) for entry in result["trials"]]
    except RecordError:
        return None
    return _digest(*trials, _aggregating_code(result["study"]), *_versions(_AGGREGATING))


def rendered_made_from(results_dir: Path, path: Path) -> str | None:
    """Return the hash of what a table, a figure, a page or the verdicts are made from: all results, and what may render it.

    Of templates a table has its own and a figure none. None for the simulation, whose settings are known to the workflow alone.
    """
    if path.stem in (SIMULATION_RESULT, SIMULATION_SWEEPS):
        return None
    names = [*(result_name(study) for study in STUDIES), *_DERIVED]
    inputs = [results_dir / name for name in names if name != path.name and (results_dir / name).is_file()]
    return _digest(*map(file_sha256, inputs), _rendering_code(_templates_of(path)), *_versions(_RENDERING))


def rendering_files() -> list[Path]:
    """Return the files of the repository that may take part in rendering and judging, sorted."""
    root = repository_root()
    return sorted({path for pattern in _RENDERING_FILES for path in root.glob(pattern) if path.is_file()})


def made_from(results_dir: Path, path: Path) -> str | None:
    """Return the hash of what a file of a results folder would be made from now; None where that cannot be told."""
    if path.name in {result_name(study) for study in MEASURABLE}:
        return result_made_from(results_dir, path)
    if is_trial(path):
        try:
            return trial_made_from(read_head(path))
        except RecordError:
            return None
    return rendered_made_from(results_dir, path)


def is_trial(path: Path) -> bool:
    """Tell whether a file lies where trials do."""
    return path.resolve().parents[2].name == "trials"


@lru_cache(maxsize=16)
def _aggregating_code(study: str) -> str:
    return sources_hash(module_sources("ablations.analysis.aggregate", f"ablations.analysis.{study}"))


def _templates_of(path: Path) -> str:
    """Return which files of the templates' folder may take part in a rendered file, as a pattern."""
    if path.suffix == ".tex" and path.stem in _TABLES:
        return f"{path.stem}.tex.j2"
    return "" if path.suffix in (".pdf", ".png") and path.stem in _FIGURES else "**/*"


@lru_cache(maxsize=16)
def _rendering_code(templates: str) -> str:
    folder = repository_root() / "workflow/templates"
    own = set(folder.glob(templates)) if templates else set()
    files = [path for path in rendering_files() if path in own or not path.is_relative_to(folder)]
    return _digest(*((displayed(path), file_sha256(path)) for path in files))


@lru_cache(maxsize=2)
def _versions(packages: tuple[str, ...]) -> list[str | None]:
    return [installed_version(package) for package in packages]


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
