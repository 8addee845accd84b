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
from ablations.rendering.names import SIMULATION_RESULT, SIMULATION_SWEEPS
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
    """Return the hash of what a table, a figure, a page or the verdicts are made from: all results, and all that renders.

    None for the simulation, whose settings are known to the workflow alone.
    """
    if path.stem in (SIMULATION_RESULT, SIMULATION_SWEEPS):
        return None
    names = [*(result_name(study) for study in STUDIES), *_DERIVED]
    inputs = [results_dir / name for name in names if name != path.name and (results_dir / name).is_file()]
    return _digest(*map(file_sha256, inputs), _rendering_code(), *_versions(_RENDERING))


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


@lru_cache(maxsize=1)
def _rendering_code() -> str:
    return _digest(*((displayed(path), file_sha256(path)) for path in rendering_files()))


@lru_cache(maxsize=2)
def _versions(packages: tuple[str, ...]) -> list[str | None]:
    return [installed_version(package) for package in packages]


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
