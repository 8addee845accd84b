"""The simulation's result file: what was simulated from settings alone, and beside it the validation against live trials."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ablations.errors import RecordError
from ablations.records import read_record, read_result, write_result
from ablations.simulation.validation import simulate_trials
from ablations.simulation.virtual import SCHEMA_NAME
from ablations.whole_files import require_writable


def validate_files(simulated: Path, trial_paths: list[Path], output: Path) -> None:
    """Simulate live trials again, and write `output`: what was simulated before, with its validation.

    Args:
        simulated: what `simulate_settings` wrote.
        trial_paths: records of live trials.
        output: the result's file.

    Raises:
        RecordError: a file that cannot be used, no trial at all, or an output that cannot be written.
    """
    if not trial_paths:
        raise RecordError("There is no trial to validate the simulation against; pass those of the signal study.")
    require_writable(output)
    paths = sorted(trial_paths)
    result = {
        **read_result(simulated, SCHEMA_NAME),
        "validation": simulate_trials([read_record(path) for path in paths]),
        "trials": [_manifest(path) for path in paths],
    }
    write_result(output, result, SCHEMA_NAME)


def _manifest(path: Path) -> dict[str, str]:
    return {"file": path.as_posix(), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
