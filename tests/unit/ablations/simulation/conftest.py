"""Scenarios and traces that the simulation's tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ablations.simulation.scenario import Scenario

MakeScenario = Callable[..., Scenario]


@pytest.fixture(scope="session")
def make_scenario() -> MakeScenario:
    """Return a scenario: one slot, phases of 1 s, waits of 10 s, swaps of 0.5 s, all of it unless said otherwise."""

    def make(policy: str, **changes: Any) -> Scenario:
        numbers: dict[str, Any] = {
            "slots": 1,
            "host_slots": None,
            "num_processors": None,
            "prefill_s": 1.0,
            "step_s": 1.0,
            "pace_s": 0.0,
            "steps": 1,
            "phases": 2,
            "swap_out_s": 0.5,
            "swap_in_s": 0.5,
            "delta_out_s": 0.125,
            "wait_min_s": 10.0,
            "wait_max_s": 10.0,
            "estimate_error": 0.0,
            "idle_timeout_s": 2.0,
            "arrivals_per_s": 1.0,
            "latency_objective_s": 4.0,
        }
        return Scenario(policy=policy, **{**numbers, **changes})

    return make
