"""Scenarios and traces that the simulation's tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from ablations.records import TrialRecord
from ablations.simulation.runs import largest_crowd, run_together
from ablations.simulation.scenario import POLICIES, Scenario
from ablations.traces import repetition_seed

MakeScenario = Callable[..., Scenario]
SEED = 77
LIVE: dict[str, Any] = {
    "slots": 2,
    "host_slots": 64,
    "gap_s": 0.125,
    "wait_max_s": 14.0,
    "steps": 2,
    "step_s": 0.3,
}


@pytest.fixture(scope="session")
def make_scenario() -> MakeScenario:
    """Return a scenario: one slot, phases of 1 s, waits of 10 s, swaps of 0.5 s, all of it unless said otherwise."""

    def make(policy: str, **changes: Any) -> Scenario:
        numbers: dict[str, Any] = {
            "slots": 1,
            "host_slots": None,
            "num_processors": None,
            "prefill_s": 0.0,
            "step_s": 1.0,
            "gap_s": 0.0,
            "steps": 1,
            "phases": 2,
            "steady_phases": 2,
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


@pytest.fixture(scope="session")
def live_trials(make_scenario: MakeScenario) -> list[TrialRecord]:
    """Records as the live study makes them, of agents that were simulated: validation has to find them again."""
    records = []
    for policy in POLICIES:
        scenario = make_scenario(policy, **LIVE)
        agents = largest_crowd(scenario, SEED, resolution=0.0)
        samples = {
            "calibration": _calibrate(scenario),
            "boundary": {"largest_success": agents, "smallest_failure": agents + 1, "middle": float(agents)},
            "probes": [_probe(scenario, agents + number, number) for number in range(2)],
        }
        records.append(_record(policy, scenario, samples))
    return records


def _record(policy: str, scenario: Scenario, samples: dict[str, Any]) -> TrialRecord:
    return TrialRecord(
        schema_version=1,
        study="semantic_signals",
        variant=policy,
        trial=0,
        seed=SEED,
        tier="tiny",
        settings={"study": {"steady_phases": scenario.steady_phases}},
        settings_sha256="0" * 64,
        sources_sha256="0" * 64,
        environment={},
        started_at="",
        duration_s=0.0,
        samples=samples,
        counters={},
        checks={},
        contamination={},
    )


def _calibrate(scenario: Scenario) -> dict[str, float]:
    """As a client sees it: times of a request with the gap, and the pace without."""
    skipped = ("policy", "num_processors", "phases", "steady_phases", "gap_s", "prefill_s", "step_s")
    plain = {
        field.name: float(getattr(scenario, field.name)) for field in fields(scenario) if field.name not in skipped
    }
    steps = {name: getattr(scenario, name) + scenario.gap_s for name in ("prefill_s", "step_s")}
    return {**plain, **steps, "pace_s": scenario.step_s}


def _probe(scenario: Scenario, num_agents: int, repetition: int) -> dict[str, Any]:
    outcome = run_together(scenario, num_agents, repetition_seed(SEED, repetition))
    return {
        "num_agents": num_agents,
        "repetition": repetition,
        "outcome": outcome.outcome,
        "p50_ms": 1e3 * outcome.p50_s,
        "p99_ms": 1e3 * outcome.p99_s,
    }
