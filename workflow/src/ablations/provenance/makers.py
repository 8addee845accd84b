"""What a result was made from, as one hash: equal hashes and unequal contents mean that somebody edited the result.

Aggregating and rendering give the same bytes from the same inputs, so that for them the hash covers inputs, code and
packages. A trial is never the same twice; its hash names the one process that measured it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from ablations.errors import RecordError
from ablations.measurement.machine import installed_version
from ablations.measurement.sources import module_sources, sources_hash
from ablations.provenance.folder import TrialHead, file_sha256, locate_trial, read_head, result_name
from ablations.records import read_result
from ablations.rendering.names import (
    CLAIMS_FIGURE,
    CLAIMS_TABLE,
    FIGURE_STUDIES,
    SIMULATION_FIGURES,
    SIMULATION_RESULT,
    SIMULATION_TABLE,
    TABLE_NAMES,
)
from ablations.settings import MEASURABLE, STUDIES, repository_root

_AGGREGATING = ("numpy", "scipy", "pandas")
_RENDERING = (*_AGGREGATING, "matplotlib", "jinja2")
_STYLE = "workflow/src/ablations/rendering/paper.mplstyle"
# What the rules of the workflow make from the results: the module that makes it, and the file that it reads beside them.
_MAKERS = {
    "ablation_numbers.tex": ("ablations.rendering.macros", None),
    "ablation_summary.tex": ("ablations.rendering.document", "workflow/templates/ablation_summary.tex.j2"),
    "claims.json": ("ablations.judging.judge", "config/claims.yaml"),
    f"{CLAIMS_TABLE}.tex": ("ablations.rendering.claims", f"workflow/templates/{CLAIMS_TABLE}.tex.j2"),
    f"{SIMULATION_TABLE}.tex": ("ablations.rendering.simulation", f"workflow/templates/{SIMULATION_TABLE}.tex.j2"),
    **{
        f"{name}.tex": ("ablations.rendering.tables", f"workflow/templates/{name}.tex.j2")
        for name in TABLE_NAMES.values()
    },
}
_FIGURE_MAKERS = {
    **dict.fromkeys(FIGURE_STUDIES, "ablations.rendering.figures"),
    **dict.fromkeys(SIMULATION_FIGURES, "ablations.rendering.simulation"),
    CLAIMS_FIGURE: "ablations.rendering.claims",
}
# Some of them read these too.
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
    """Return the hash of what a table, a figure, a document or the verdicts are made from; None for other files.

    It covers all results, so that it may cover more than one file needs; the ledger is written anew after any of them.
    """
    maker = _maker(path)
    if maker is None:
        return None
    names = [*(result_name(study) for study in STUDIES), *_DERIVED]
    inputs = [results_dir / name for name in names if name != path.name and (results_dir / name).is_file()]
    return _digest(*map(file_sha256, inputs), _rendering_code(*maker), *_versions(_RENDERING))


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


def _maker(path: Path) -> tuple[str, str | None] | None:
    if path.suffix in (".pdf", ".png"):
        return (_FIGURE_MAKERS[path.stem], _STYLE) if path.stem in _FIGURE_MAKERS else None
    return _MAKERS.get(path.name)


@lru_cache(maxsize=16)
def _aggregating_code(study: str) -> str:
    return sources_hash(module_sources("ablations.analysis.aggregate", f"ablations.analysis.{study}"))


@lru_cache(maxsize=64)
def _rendering_code(module: str, beside: str | None) -> str:
    """Return the hash of the files that the workflow's rule for this maker has as inputs."""
    path = repository_root() / beside if beside is not None else None
    files = [path] if path is not None and path.is_file() else []
    return _digest(sources_hash(module_sources(module)), *map(file_sha256, files))


def _versions(packages: Iterable[str]) -> list[str | None]:
    return [installed_version(package) for package in packages]


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
