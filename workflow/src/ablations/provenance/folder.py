"""A folder of results as it lies on disk: which files it has, and what each trial says of itself, read in no time.

Nothing here loads torch, pandas or the samples of a trial.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ablations.errors import RecordError
from ablations.records import SCHEMA_VERSION
from ablations.settings import MEASURABLE, STUDIES, repository_root

LEDGER_NAME = "ledger.json"


class TrialHead(msgspec.Struct, frozen=True, kw_only=True):
    """A trial record without its samples."""

    schema_version: int
    study: str
    variant: str
    trial: int
    tier: str
    settings: dict[str, Any]
    settings_sha256: str
    sources_sha256: str
    environment: dict[str, Any]
    started_at: str
    duration_s: float


def require_folder(path: Path) -> None:
    """Refuse what cannot be a folder of results, not even one that is still to be made.

    Raises:
        RecordError: something other than a folder is there.
    """
    if path.exists() and not path.is_dir():
        raise RecordError(
            f"Results {path} are no folder; pass the folder that holds ablation_1.json to ablation_4.json."
        )


def result_name(study: str) -> str:
    """Return the file name of a study's result."""
    return f"ablation_{STUDIES.index(study) + 1}.json" if study in STUDIES else f"{study}.json"


def result_files(results_dir: Path) -> dict[str, Path]:
    """Return the results that exist, by study, in order of the ablations.

    Raises:
        RecordError: the folder holds none.
    """
    found = {study: results_dir / result_name(study) for study in MEASURABLE}
    found = {study: path for study, path in found.items() if path.is_file()}
    if not found:
        raise RecordError(
            f"Folder {results_dir} holds no ablation_1.json to ablation_4.json; measure first or pass --results-dir."
        )
    return found


def trial_path(results_dir: Path, study: str, variant: str, trial: int) -> Path:
    """Return where a trial of a results folder lies."""
    return results_dir / "trials" / study / variant / f"trial_{trial}.json"


def trial_files(results_dir: Path) -> list[Path]:
    """Return the trials that exist, sorted by study, variant and number."""
    paths = (results_dir / "trials").glob("*/*/trial_*.json")
    return sorted(paths, key=lambda path: (path.parent, len(path.name), path.name))


def locate_trial(results_dir: Path, study: str, entry: Mapping[str, Any]) -> Path:
    """Return where a trial of a result's manifest lies now, whether it still exists or not.

    A folder that was copied, such as a reference run, is believed before the path at which it was made; only results
    without any trials beside them lead to that path.
    """
    path = trial_path(results_dir, study, entry["variant"], entry["trial"])
    if (results_dir / "trials").is_dir():
        return path
    recorded = repository_root() / entry["file"]
    return recorded if recorded.is_file() else path


def read_head(path: Path) -> TrialHead:
    """Read a trial record without its samples.

    Raises:
        RecordError: the file is missing, truncated, of another version or no trial record.
    """
    try:
        head = msgspec.json.decode(path.read_bytes(), type=TrialHead)
    except FileNotFoundError as error:
        raise RecordError(f"Result {path} does not exist; run the rule or script that makes it.") from error
    except OSError as error:
        raise RecordError(f"Result {path} cannot be read ({error.strerror}); check its permissions.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordError(
            f"Result {path} is no whole trial record ({error}); delete it and run its trial again."
        ) from error
    if head.schema_version != SCHEMA_VERSION:
        raise RecordError(
            f"Result {path} has schema version {head.schema_version}, but this release reads {SCHEMA_VERSION}; "
            "delete it and run its trial again."
        )
    return head


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content.

    Raises:
        RecordError: it cannot be read, or is gone because a workflow is making it again.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RecordError(
            f"Result {path} cannot be read ({error.strerror}); wait for a workflow that runs, or check its permissions."
        ) from error


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of nested settings with its dotted name."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def displayed(path: Path) -> str:
    """Return a path as a user would type it in the repository's folder."""
    resolved, root = path.resolve(), repository_root()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else str(path)
