"""The paper's configuration in virtual time: agents that come and leave, and as many as can be alive at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import median
from typing import Any

from ablations.simulation.runs import Outcome, largest_crowd, run_open, run_together
from ablations.simulation.scenario import ORACLE, POLICIES, Scenario
from ablations.simulation_settings import PaperDevice, Simulation

Row = dict[str, Any]


def paper_scenario(paper: PaperDevice, policy: str, *, has_pool_limit: bool) -> Scenario:
    """Return the paper's device and its agents under one policy; arrivals are those of agents alive at once.

    Args:
        paper: sizes, rates and times.
        policy: which one.
        has_pool_limit: whether the host pool has the paper's size; else every session fits it.
    """
    swap_s = paper.session_bytes / (paper.link_gb_per_s * 1e9)
    return Scenario(
        policy=policy,
        slots=paper.device_bytes // paper.session_bytes,
        host_slots=paper.host_pool_bytes // paper.session_bytes if has_pool_limit else None,
        num_processors=None,
        prefill_s=paper.prefill_s,
        step_s=paper.compute_s,
        gap_s=0.0,
        steps=1,
        phases=paper.phases,
        steady_phases=paper.steady_phases,
        swap_out_s=swap_s,
        swap_in_s=swap_s,
        delta_out_s=paper.changed_share * swap_s,
        wait_min_s=paper.wait_min_s,
        wait_max_s=paper.wait_max_s,
        estimate_error=paper.estimate_error,
        idle_timeout_s=paper.idle_timeout_s,
        arrivals_per_s=paper.overlapping_arrivals_per_s,
        latency_objective_s=paper.latency_objective_s,
    )


def simulate_paper(simulation: Simulation, seed: int) -> dict[str, Any]:
    """Simulate the paper's configuration with every policy and the oracle.

    Returns:
        The sizes in sessions; `crowds`, the largest number of agents alive at once with and without the pool's limit;
        `open`, agents that come at the paper's rate and leave.
    """
    sized = paper_scenario(simulation.paper, "none", has_pool_limit=True)
    crowds = [row for has_pool_limit in (True, False) for row in _crowds(simulation, seed, has_pool_limit)]
    return {
        "slots": sized.slots,
        "host_slots": sized.host_slots,
        "swap_s": sized.swap_in_s,
        "crowds": crowds,
        "open": [_open_row(simulation.paper, policy, seed) for policy in (*POLICIES, ORACLE)],
    }


def _crowds(simulation: Simulation, seed: int, has_pool_limit: bool) -> list[Row]:
    rows = []
    for policy in (*POLICIES, ORACLE):
        scenario = paper_scenario(simulation.paper, policy, has_pool_limit=has_pool_limit)
        found = list(_largest(scenario, simulation, seed))
        rows.append({"policy": policy, "has_pool_limit": has_pool_limit, **_describe(scenario, found)})
    best = rows[-1]["agents"]
    return [{**row, "share_of_oracle": row["agents"] / best if best else None} for row in rows]


def _largest(scenario: Scenario, simulation: Simulation, seed: int) -> Iterator[tuple[int, Outcome]]:
    agents = None
    for number in range(simulation.num_seeds):
        # The first answer is the best prediction of the next.
        agents = largest_crowd(scenario, seed + number, resolution=simulation.resolution, start=agents)
        yield agents, run_together(scenario, max(1, agents), seed + number)


def _describe(scenario: Scenario, found: list[tuple[int, Outcome]]) -> Row:
    agents = [number for number, _ in found]
    outcomes = [outcome for _, outcome in found]
    return {
        "agents": median(agents),
        "agents_low": min(agents),
        "agents_high": max(agents),
        "bound": scenario.bound(),
        "p50_ms": 1e3 * median(outcome.p50_s for outcome in outcomes),
        "p99_ms": 1e3 * median(outcome.p99_s for outcome in outcomes),
        "swaps_per_request": median(outcome.swaps_per_request for outcome in outcomes),
        "mean_alive": median(outcome.mean_alive for outcome in outcomes),
    }


def _open_row(paper: PaperDevice, policy: str, seed: int) -> Row:
    crowded = paper_scenario(paper, policy, has_pool_limit=True)
    outcome = run_open(replace(crowded, arrivals_per_s=paper.arrivals_per_s), paper.num_open_agents, seed)
    return {
        "policy": policy,
        "agents_seen": outcome.num_agents,
        "agents_rejected": outcome.num_rejected,
        "mean_alive": outcome.mean_alive,
        "max_alive": outcome.max_alive,
        # Little's law, from the rate that was asked for and the lifetimes that came of it.
        "little_alive": paper.arrivals_per_s * outcome.mean_lifetime_s,
        "p50_ms": 1e3 * outcome.p50_s,
        "p99_ms": 1e3 * outcome.p99_s,
        "swaps_per_request": outcome.swaps_per_request,
    }
