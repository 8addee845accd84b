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
from ablations.rendering.names import FIGURE_STUDIES, TABLE_NAMES
from ablations.settings import MEASURABLE, STUDIES, repository_root

_AGGREGATING = ("numpy", "scipy", "pandas")
_RENDERING = (*_AGGREGATING, "matplotlib", "jinja2")
# Of whatever this module does not know.
_ALL_FILES = (
    "workflow/src/ablations/**/*.py",
    "workflow/src/ablations/**/*.mplstyle",
    "workflow/templates/*",
    "workflow/report/*",
    "config/*.yaml",
)
_VERDICTS = "claims.json"


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
    except (RecordError, OSError):
        return None
    return _digest(*trials, _aggregating_code(result["study"]), *_versions(_AGGREGATING))


def rendered_made_from(results_dir: Path, path: Path) -> str:
    """Return the hash of what a table, a figure, a document or a verdict is made from: results, and what renders it."""
    inputs = [results_dir / result_name(study) for study in STUDIES]
    maker = _maker(path)
    if maker not in ("tables", "figures", "macros"):
        inputs.append(results_dir / _VERDICTS)
    hashes = [file_sha256(other) for other in inputs if other.is_file() and other != path]
    code = _all_code() if maker is None else _rendering_code(maker, path.stem)
    return _digest(*hashes, code, *_versions(_RENDERING))


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


def is_exact(path: Path) -> bool:
    """Tell whether a file's hash covers what it is made from and no more, so that another hash means that it is stale."""
    return is_trial(path) or path.name in {result_name(study) for study in MEASURABLE} or _maker(path) is not None


def is_trial(path: Path) -> bool:
    """Tell whether a file lies where trials do."""
    return path.resolve().parents[2].name == "trials"


def _maker(path: Path) -> str | None:
    """Return the rendering module that makes a file; None for files that this table does not know."""
    if path.suffix != ".tex":
        return "figures" if path.stem in FIGURE_STUDIES else None
    named = {"ablation_numbers": "macros", "ablation_summary": "document"}
    return "tables" if path.stem in TABLE_NAMES.values() else named.get(path.stem)


@lru_cache(maxsize=16)
def _aggregating_code(study: str) -> str:
    return sources_hash(module_sources("ablations.analysis.aggregate", f"ablations.analysis.{study}"))


@lru_cache(maxsize=64)
def _rendering_code(maker: str, stem: str) -> str:
    """Return the hash of the files that the workflow's rule for this maker has as inputs."""
    root = repository_root()
    beside = {"figures": "workflow/src/ablations/rendering/paper.mplstyle"}.get(
        maker, f"workflow/templates/{stem}.tex.j2"
    )
    files = [root / beside] if (root / beside).is_file() else []
    return _digest(sources_hash(module_sources(f"ablations.rendering.{maker}")), *map(file_sha256, files))


@lru_cache(maxsize=1)
def _all_code() -> str:
    root = repository_root()
    files = sorted(path for pattern in _ALL_FILES for path in root.glob(pattern) if path.is_file())
    return _digest(*((path.relative_to(root).as_posix(), file_sha256(path)) for path in files))


def _versions(packages: Iterable[str]) -> list[str | None]:
    return [installed_version(package) for package in packages]


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
