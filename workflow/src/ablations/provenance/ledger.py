"""The ledger of a results folder: the sha256 of every file, and of what each was made from.

Writing it again refuses what was edited by hand in the meantime: a file that changed although what it is made from did
not. So a run of the whole workflow never calls an edited result its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ablations.errors import LedgerError, RecordError
from ablations.provenance.folder import LEDGER_NAME, file_sha256, locate_trial, result_name
from ablations.provenance.makers import made_from
from ablations.records import SCHEMA_VERSION, read_result, write_result
from ablations.settings import MEASURABLE


def write_ledger(results_dir: Path, files: Iterable[Path]) -> None:
    """Write into the ledger the given files, and the trials that went into the results among them.

    Args:
        results_dir: the folder whose ledger it is.
        files: results, tables, figures; those of other folders are named relative to this one.

    Raises:
        LedgerError: a file was edited since the last ledger, or a trial since its result was aggregated.
        RecordError: a file that is missing or damaged, or a folder that cannot be written to.
    """
    entries = {}
    files = list(files)
    for path in (*files, *_trials_of(results_dir, files)):
        if path.exists() and not path.is_file():
            raise RecordError(f"Result {path} is no regular file; pass the files that the ledger is to answer for.")
        if not path.is_file():
            raise RecordError(f"Result {path} does not exist; run the rule or script that makes it.")
        entries[ledger_name(results_dir, path)] = {
            "sha256": file_sha256(path),
            "made_from": made_from(results_dir, path),
        }
    known = read_ledger(results_dir)["files"] if (results_dir / LEDGER_NAME).exists() else {}
    edited = [name for name, entry in entries.items() if is_edited(known.get(name), entry)]
    if edited:
        raise LedgerError(
            f"Results were edited since {results_dir / LEDGER_NAME} was written ({', '.join(sorted(edited))}); "
            "delete them and make them again."
        )
    # Measuring one study, or drawing figures, leaves what the ledger knows of the rest.
    others = {name: entry for name, entry in known.items() if (results_dir / name).is_file()}
    content = {"schema_version": SCHEMA_VERSION, "files": dict(sorted((others | entries).items()))}
    write_result(results_dir / LEDGER_NAME, content, "ledger")


def add_to_ledger(results_dir: Path, made: Iterable[Path]) -> None:
    """Write what was made without a workflow engine into the ledger, a figure's picture with the figure.

    Raises:
        LedgerError: a file was edited since the last ledger.
        RecordError: a file that is missing or damaged, or a folder that cannot be written to.
    """
    files = list(made)
    write_ledger(results_dir, [*files, *(path.with_suffix(".png") for path in files if path.suffix == ".pdf")])


def read_ledger(results_dir: Path) -> dict[str, Any]:
    """Read a folder's ledger.

    Raises:
        RecordError: it is missing, damaged or of another version.
    """
    return read_result(results_dir / LEDGER_NAME, "ledger")


def is_edited(known: dict[str, Any] | None, now: dict[str, Any]) -> bool:
    """Tell whether a file changed although what it is made from did not."""
    if known is None or known["sha256"] == now["sha256"]:
        return False
    return known["made_from"] is not None and known["made_from"] == now["made_from"]


def ledger_name(results_dir: Path, path: Path) -> str:
    """Return a file's name in the ledger: its path relative to the results folder."""
    return Path(os.path.relpath(path, results_dir)).as_posix()


def _trials_of(results_dir: Path, files: list[Path]) -> list[Path]:
    """Return the trials of all results among the files; each must be what went into its result."""
    found = []
    for path in files:
        if path.name not in {result_name(study) for study in MEASURABLE}:
            continue
        result = read_result(path, "aggregated")
        for entry in result["trials"]:
            trial = locate_trial(results_dir, result["study"], entry)
            if trial.is_file() and file_sha256(trial) != entry["sha256"]:
                raise LedgerError(f"Trial {trial} changed after {path} was aggregated from it; aggregate again.")
            found.append(trial)
    return found
