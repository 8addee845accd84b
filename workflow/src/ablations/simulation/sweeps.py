"""Sweeps: how the largest number of agents of each policy depends on one number at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from ablations.simulation.paper import paper_scenario
from ablations.simulation.runs import largest_crowd
from ablations.simulation.scenario import ORACLE, POLICIES, Scenario
from ablations.simulation_settings import Simulation


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is varied.

    Attributes:
        label, unit: of the varied number.
        values: that it takes.
        vary: returns a scenario with the number set.
    """

    label: str
    unit: str
    values: list[float]
    vary: Callable[[Scenario, float], Scenario]


class Searcher:
    """Searches each scenario once for each seed, whichever sweeps it is part of."""

    def __init__(self, simulation: Simulation, seed: int) -> None:
        self._simulation = simulation
        self._seed = seed
        self._found: dict[Scenario, list[int]] = {}
        # Of the bound, by policy: what a scenario sustains of it is what the next one will, more or less.
        self._shares: dict[str, float] = {}

    def find(self, scenario: Scenario) -> list[int]:
        """Return the largest number of agents alive at once for each seed."""
        essential = scenario.essential()
        if essential not in self._found:
            self._found[essential] = self._search(essential)
        return self._found[essential]

    def _search(self, scenario: Scenario) -> list[int]:
        start = self._shares.get(scenario.policy, 1.0) * scenario.bound()
        found: list[int] = []
        for number in range(self._simulation.num_seeds):
            resolution = self._simulation.resolution
            start = largest_crowd(scenario, self._seed + number, resolution=resolution, start=start)
            found.append(start)
        self._shares[scenario.policy] = found[0] / scenario.bound()
        return found


def simulate_sweeps(simulation: Simulation, seed: int) -> dict[str, Any]:
    """Simulate every sweep with every policy and the oracle.

    Returns:
        For each sweep its label, unit, the number that the others keep, `points` (value, policy, agents with their
        range over seeds), and, for the idle timeout, the analytic gain of signals over it.
    """
    base = _base(simulation)
    searcher = Searcher(simulation, seed)
    sweeps = {name: _simulate(sweep, base, searcher) for name, sweep in _sweeps(simulation).items()}
    sweeps["idle_timeout"]["analytic_gain"] = [
        {"value": value, "gain": analytic_gain(base, value)} for value in simulation.sweeps.idle_timeouts_s
    ]
    return {"slots": base.slots, "compute_s": base.step_s, "swap_s": base.swap_in_s, "series": sweeps}


def analytic_gain(scenario: Scenario, idle_timeout_s: float) -> float:
    """Return 1 + tau / (c + 2s): how many times more agents signals sustain than a timeout, where memory alone binds.

    A slot that serves a phase of c is also held for two swaps of s and, without a signal, for the timeout tau.
    """
    return 1 + idle_timeout_s / (scenario.phase_s + scenario.swap_out_s + scenario.swap_in_s)


def _base(simulation: Simulation) -> Scenario:
    scenario = paper_scenario(simulation.paper, "none", has_pool_limit=False)
    return replace(scenario, slots=simulation.sweeps.slots)


def _simulate(sweep: Sweep, base: Scenario, searcher: Searcher) -> dict[str, Any]:
    points = []
    for value in sweep.values:
        for policy in (*POLICIES, ORACLE):
            found = searcher.find(replace(sweep.vary(base, value), policy=policy))
            points.append(
                {
                    "value": value,
                    "policy": policy,
                    "agents": median(found),
                    "agents_low": min(found),
                    "agents_high": max(found),
                }
            )
    return {"label": sweep.label, "unit": sweep.unit, "points": points}


def _sweeps(simulation: Simulation) -> dict[str, Sweep]:
    sweeps = simulation.sweeps
    return {
        "idle_timeout": Sweep("idle timeout", "s", sweeps.idle_timeouts_s, _with_idle_timeout),
        "swap": Sweep("swap time over compute time", "ratio", sweeps.swap_over_compute, _with_swap),
        "estimate_error": Sweep("largest error of estimates", "ratio", sweeps.estimate_errors, _with_error),
        "wait": Sweep("mean wait", "s", sweeps.mean_waits_s, _with_wait),
    }


def _with_idle_timeout(scenario: Scenario, idle_timeout_s: float) -> Scenario:
    return replace(scenario, idle_timeout_s=idle_timeout_s)


def _with_swap(scenario: Scenario, swap_over_compute: float) -> Scenario:
    swap_s = swap_over_compute * scenario.step_s
    changed_share = scenario.delta_out_s / scenario.swap_out_s
    return replace(scenario, swap_out_s=swap_s, swap_in_s=swap_s, delta_out_s=changed_share * swap_s)


def _with_error(scenario: Scenario, estimate_error: float) -> Scenario:
    return replace(scenario, estimate_error=estimate_error)


def _with_wait(scenario: Scenario, mean_wait_s: float) -> Scenario:
    """Scale the range of waits with its mean."""
    factor = 2 * mean_wait_s / (scenario.wait_min_s + scenario.wait_max_s)
    return replace(scenario, wait_min_s=factor * scenario.wait_min_s, wait_max_s=factor * scenario.wait_max_s)
