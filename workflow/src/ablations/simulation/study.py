"""Everything that is simulated, as one result file: validation against live trials, the paper's configuration, sweeps."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from ablations.errors import SettingsError
from ablations.records import SCHEMA_VERSION, TrialRecord, read_record, require_writable, write_result
from ablations.simulation.paper import simulate_paper
from ablations.simulation.sweeps import simulate_sweeps
from ablations.simulation.validation import simulate_trials
from ablations.simulation_settings import Simulation, check_simulation
from ablations.violations import require_finite

SCHEMA_NAME = "simulation"


class SimulationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the result depends on beside the trials: the tier's name, the seed and the simulation's own section."""

    tier: str
    seed: int
    simulation: Simulation


def parse_settings(plain: dict[str, Any]) -> SimulationSettings:
    """Check plain settings and convert them.

    Raises:
        SettingsError: they do not fit.
    """
    require_finite(plain, "the simulation's settings")
    try:
        settings = msgspec.convert(plain, SimulationSettings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"The simulation's settings do not fit ({error}); correct the configuration.") from error
    check_simulation(settings.simulation, "the simulation's settings")
    return settings


def simulate_files(plain_settings: dict[str, Any], trial_paths: list[Path], output: Path) -> None:
    """Simulate everything and write `output`, which says that it is simulated.

    Args:
        plain_settings: as `simulation_settings` returns them.
        trial_paths: records of live trials to validate against.
        output: the result's file.

    Raises:
        SettingsError: settings that do not fit.
        RecordError: a record that cannot be used, or an output that cannot be written.
    """
    settings = parse_settings(plain_settings)
    require_writable(output)
    paths = sorted(trial_paths)
    records = [read_record(path) for path in paths]
    result = {
        **simulate_all(settings, records),
        "settings": plain_settings,
        "trials": [_manifest(path) for path in paths],
    }
    write_result(output, result, SCHEMA_NAME)


def simulate_all(settings: SimulationSettings, records: list[TrialRecord]) -> dict[str, Any]:
    """Simulate everything, and return it as plain data without its manifest.

    Args:
        settings: what to simulate.
        records: live trials to validate against.

    Raises:
        RecordError: a record that cannot be used.
    """
    simulation, seed = settings.simulation, settings.seed
    return {
        "schema_version": SCHEMA_VERSION,
        "simulated": True,
        "tier": settings.tier,
        "validation": simulate_trials(records),
        "paper": simulate_paper(simulation, seed),
        "sweeps": simulate_sweeps(simulation, seed),
    }


def _manifest(path: Path) -> dict[str, str]:
    return {"file": path.as_posix(), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
