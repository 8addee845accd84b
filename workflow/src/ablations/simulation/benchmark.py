"""How fast the simulation is on this machine: events a second, and agent lives a minute."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ablations.simulation.paper import paper_scenario
from ablations.simulation.runs import run_open
from ablations.simulation_settings import PaperDevice

# Agents arrive at this share of what memory can serve, so that they queue, swap and are prefetched, and leave again.
_LOAD = 0.8


@dataclass(frozen=True, slots=True)
class Speed:
    """What one policy's run took.

    Attributes:
        policy: that was driven.
        num_lives, num_events: agents that came and left, and events handled.
        max_alive: agents alive at most, which is what memory grows with.
        duration_s: processor time, which others on the machine do not add to.
    """

    policy: str
    num_lives: int
    num_events: int
    max_alive: int
    duration_s: float

    @property
    def sentence(self) -> str:
        """The speed in words."""
        return (
            f"{self.policy}: {self.num_events / self.duration_s:,.0f} events/s, "
            f"{60 * self.num_lives / self.duration_s:,.0f} lives/min "
            f"({self.num_lives:,} lives, {self.num_events:,} events, at most {self.max_alive} alive, {self.duration_s:.2f} s of one core)"
        )


def measure_speed(paper: PaperDevice, policy: str, num_lives: int) -> Speed:
    """Simulate agents of the paper's configuration that come and leave, and time it.

    Args:
        paper: sizes, rates and times.
        policy: to drive.
        num_lives: agents.
    """
    scenario = paper_scenario(paper, policy, has_pool_limit=False)
    # By Little's law: the agents that can be alive, over a life of all phases and the waits between them.
    cycle_s = scenario.phase_s + (scenario.wait_min_s + scenario.wait_max_s) / 2
    rate_per_s = _LOAD * scenario.bound() / (scenario.phases * cycle_s)
    start_s = time.process_time()
    outcome = run_open(replace(scenario, arrivals_per_s=rate_per_s), num_lives, seed=1)
    return Speed(policy, num_lives, outcome.num_events, outcome.max_alive, time.process_time() - start_s)
