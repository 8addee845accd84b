"""What is simulated from settings alone, without any trial: the paper's configuration and the sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ablations.errors import SettingsError
from ablations.records import SCHEMA_VERSION, write_result
from ablations.simulation.paper import simulate_paper
from ablations.simulation.sweeps import simulate_sweeps
from ablations.simulation_settings import Simulation, check_simulation
from ablations.violations import require_finite
from ablations.whole_files import require_writable

SCHEMA_NAME = "simulation"
# What `simulate_trials` says of no trial at all; imported from there, an edit to it would simulate the sweeps again.
NOTHING_VALIDATED: dict[str, Any] = {
    "agents": [],
    "probes": [],
    "oracle_agents": None,
    "median_abs_error_agents_pct": None,
    "median_abs_error_p99_pct": None,
}


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


def simulate_settings(plain_settings: dict[str, Any], output: Path) -> None:
    """Simulate what needs no trial and write `output`: a result of the simulation that is validated against nothing.

    Args:
        plain_settings: as `simulation_settings` returns them.
        output: the result's file.

    Raises:
        SettingsError: settings that do not fit.
        RecordError: an output that cannot be written.
    """
    settings = parse_settings(plain_settings)
    require_writable(output)
    result = {
        **simulate_virtual(settings),
        "validation": NOTHING_VALIDATED,
        "settings": plain_settings,
        "trials": [],
    }
    write_result(output, result, SCHEMA_NAME)


def simulate_virtual(settings: SimulationSettings) -> dict[str, Any]:
    """Simulate what needs no trial, and return it as plain data without its validation and manifest."""
    simulation, seed = settings.simulation, settings.seed
    return {
        "schema_version": SCHEMA_VERSION,
        "simulated": True,
        "tier": settings.tier,
        "paper": simulate_paper(simulation, seed),
        "sweeps": simulate_sweeps(simulation, seed),
    }
