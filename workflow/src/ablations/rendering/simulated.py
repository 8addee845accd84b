"""Reads the simulation's result for what shows it: a file of the right form, with settings of the present types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ablations.errors import RecordError
from ablations.records import read_result
from ablations.simulation_settings import Simulation


def read_simulation(path: Path) -> dict[str, Any]:
    """Read the simulation's result.

    Raises:
        RecordError: a file that is missing, damaged or of another kind, or settings that are none of a simulation.
    """
    result = read_result(path, "simulation")
    try:
        msgspec.convert(result["settings"].get("simulation"), Simulation)
    except msgspec.ValidationError as error:
        raise RecordError(
            f"Result {path} has settings that are none of a simulation ({error}); delete it and run the workflow again."
        ) from error
    return result
