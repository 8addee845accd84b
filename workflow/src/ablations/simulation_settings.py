"""The settings of the simulation: the paper's configuration and the sweeps around it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ablations.errors import SettingsError

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
# What is measured or simulated at each value of a list is named by the value.
UNIQUE = {"uniqueItems": True}


class PaperDevice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The paper's accelerator, model and agents.

    Attributes:
        session_bytes: KV cache of one session.
        device_bytes: accelerator memory that is left for sessions.
        host_pool_bytes: where evicted sessions go.
        link_gb_per_s: of each direction between the two, 10^9 bytes a second.
        changed_share: of a session, that a phase changes.
        prefill_s, compute_s: of an agent's prompt, and of each phase.
        phases: of an agent that comes and leaves.
        wait_min_s, wait_max_s, estimate_error: tool waits, and the largest relative error of their estimates.
        idle_timeout_s: of policy reactive.
        latency_objective_s: that p99 of request latency has to keep.
        arrivals_per_s, num_open_agents: of agents that come and leave.
        overlapping_arrivals_per_s, steady_phases: of agents that are all alive at once: their arrivals, and the phases of
            each that count.
    """

    session_bytes: Count
    device_bytes: Count
    host_pool_bytes: Count
    link_gb_per_s: Positive
    changed_share: Share
    prefill_s: Positive
    compute_s: Positive
    phases: Annotated[int, Meta(ge=2)]
    wait_min_s: NotNegative
    wait_max_s: Positive
    estimate_error: Share
    idle_timeout_s: Positive
    latency_objective_s: Positive
    arrivals_per_s: Positive
    num_open_agents: Count
    overlapping_arrivals_per_s: Positive
    steady_phases: Count


class Sweeps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is varied, one at a time, around the paper's agents on a device of `slots` sessions and a host without limit."""

    slots: Count
    idle_timeouts_s: Annotated[list[Positive], Meta(min_length=1, extra_json_schema=UNIQUE)]
    swap_over_compute: Annotated[list[NotNegative], Meta(min_length=1, extra_json_schema=UNIQUE)]
    estimate_errors: Annotated[list[Share], Meta(min_length=1, extra_json_schema=UNIQUE)]
    mean_waits_s: Annotated[list[Positive], Meta(min_length=1, extra_json_schema=UNIQUE)]


class Simulation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that is simulated.

    Attributes:
        num_seeds: runs of each point, each with arrivals and waits of its own.
        resolution: relative width at which the search for the largest number of agents stops.
    """

    num_seeds: Count
    resolution: Annotated[float, Meta(ge=0, le=0.5)]
    paper: PaperDevice
    sweeps: Sweeps


def check_simulation(simulation: Simulation, source: str) -> None:
    """Refuse what the schema cannot: numbers that contradict each other.

    Raises:
        SettingsError: the first of them, with its key, value and remedy.
    """
    paper = simulation.paper
    if paper.wait_min_s > paper.wait_max_s:
        raise SettingsError(
            f"{source}: simulation.paper.wait_min_s is {paper.wait_min_s}, more than wait_max_s, {paper.wait_max_s}; swap them."
        )
    for name in ("device_bytes", "host_pool_bytes"):
        if getattr(paper, name) < paper.session_bytes:
            raise SettingsError(
                f"{source}: simulation.paper.{name} is {getattr(paper, name)}, less than one session of "
                f"{paper.session_bytes}; raise it."
            )
