"""Runs of the engine: agents that are all alive at once, agents that come and leave, and the largest number that succeeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from ablations.simulation.engine import Engine
from ablations.simulation.latencies import LatencyHistogram
from ablations.simulation.scenario import ORACLE, Scenario
from ablations.traces import AgentTrace, stream_traces

# Waits drawn for each phase of agents that live together, as in the live study; a longer life begins with them again.
_WAITS_PER_PHASE = 4
# The share of requests that has to keep the objective.
_TAIL = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run showed.

    Attributes:
        outcome: `success`, `latency` (p99 over the objective), `out_of_memory` or `timeout`.
        num_agents, num_finished, num_rejected: that arrived, did all their phases, ran out of memory.
        num_phases: that ended.
        num_requests: those among them whose latency counts: all, or the steady ones of agents that live together.
        p50_s, p99_s: of that latency; 0 if none counts.
        duration_s: virtual time from the first arrival to the last end.
        mean_alive, max_alive: agents alive, weighted by time, and at most.
        mean_lifetime_s: of an agent; by Little's law, times the rate of arrivals, the agents alive.
        evictions, restores, prefetches, reclaims, signals: how often.
        num_events: of the engine.
    """

    outcome: str
    num_agents: int
    num_finished: int
    num_rejected: int
    num_phases: int
    num_requests: int
    p50_s: float
    p99_s: float
    duration_s: float
    mean_alive: float
    max_alive: int
    mean_lifetime_s: float
    evictions: int
    restores: int
    prefetches: int
    reclaims: int
    signals: int
    num_events: int

    @property
    def swaps_per_request(self) -> float:
        """Restores, prefetches included, for each phase."""
        return (self.restores + self.prefetches) / self.num_phases if self.num_phases else 0.0


def run_together(scenario: Scenario, num_agents: int, seed: int) -> Outcome:
    """Simulate `num_agents` of whom nobody leaves before all have done some phases together, as the live study does."""
    return run_traces(scenario, _together(scenario, num_agents, seed), is_together=True)


def run_open(scenario: Scenario, num_agents: int, seed: int) -> Outcome:
    """Simulate `num_agents` that arrive, do their phases and leave; memory does not grow with their number."""
    traces = islice(_stream(scenario, seed, max(1, scenario.phases - 1)), num_agents)
    return run_traces(scenario, traces, is_together=False)


def run_traces(scenario: Scenario, traces: Iterator[AgentTrace], *, is_together: bool) -> Outcome:
    """Simulate given agents; the oracle is told their waits as they are."""
    if scenario.policy == ORACLE:
        traces = _tell_waits(traces)
    latencies = LatencyHistogram()
    engine = Engine(scenario, traces, is_together=is_together, record=latencies.add)
    engine.run()
    return _describe(scenario, engine, latencies)


def largest_success(succeeds: Callable[[int], bool], start: float, resolution: float) -> int:
    """Find the largest number that succeeds, in strides from `start` that double, then by bisection; nothing caps it.

    The first stride is as wide as the answer may be: a good prediction is confirmed by two runs.

    Args:
        succeeds: tells whether a number does; should turn false once, as numbers grow.
        start: where to begin; a prediction.
        resolution: relative width at which the bracket is narrow enough; neighbours always are.
    """
    place = max(1, round(start))
    stride = max(1, int(resolution * place))
    if succeeds(place):
        lower, upper = place, place + stride
        while succeeds(upper):
            stride *= 2
            lower, upper = upper, upper + stride
    else:
        lower, upper = max(0, place - stride), place
        while lower > 0 and not succeeds(lower):
            stride *= 2
            lower, upper = max(0, lower - stride), lower
    while upper - lower > max(1, int(resolution * lower)):
        middle = (lower + upper) // 2
        lower, upper = (middle, upper) if succeeds(middle) else (lower, middle)
    return lower


def largest_crowd(scenario: Scenario, seed: int, *, resolution: float, start: float | None = None) -> int:
    """Return the largest number of agents alive at once that all finish and keep the latency objective; 0 if not even one."""

    def succeeds(num_agents: int) -> bool:
        return sustains(scenario, num_agents, seed)

    return largest_success(succeeds, scenario.bound() if start is None else start, resolution)


def sustains(scenario: Scenario, num_agents: int, seed: int) -> bool:
    """Tell whether so many agents alive at once all finish and keep the objective; stops as soon as they cannot."""
    num_counted = num_agents * scenario.steady_phases
    num_allowed = num_counted - math.ceil(_TAIL * num_counted)
    num_slow = 0

    def count(latency_s: float) -> None:
        nonlocal num_slow
        if latency_s > scenario.latency_objective_s:
            num_slow += 1
            if num_slow > num_allowed:
                engine.stop()

    engine = Engine(scenario, _together(scenario, num_agents, seed), is_together=True, record=count)
    engine.run()
    # Stopping lets the event at hand end, which may be the last agent's.
    return num_slow <= num_allowed and engine.num_finished == num_agents


def _together(scenario: Scenario, num_agents: int, seed: int) -> Iterator[AgentTrace]:
    traces = islice(_stream(scenario, seed, _WAITS_PER_PHASE * (1 + scenario.steady_phases)), num_agents)
    return _tell_waits(traces) if scenario.policy == ORACLE else traces


def _tell_waits(traces: Iterator[AgentTrace]) -> Iterator[AgentTrace]:
    return (replace(trace, estimates_s=trace.waits_s) for trace in traces)


def _stream(scenario: Scenario, seed: int, num_waits: int) -> Iterator[AgentTrace]:
    return stream_traces(
        seed=seed,
        arrivals_per_s=scenario.arrivals_per_s,
        wait_min_s=scenario.wait_min_s,
        wait_max_s=scenario.wait_max_s,
        estimate_error=scenario.estimate_error,
        num_waits=num_waits,
    )


def _describe(scenario: Scenario, engine: Engine, latencies: LatencyHistogram) -> Outcome:
    residency, span_s = engine.residency, engine.now_s
    p99_s = latencies.quantile_s(_TAIL)
    if engine.num_rejected:
        outcome = "out_of_memory"
    elif engine.num_finished < engine.num_arrived:
        outcome = "timeout"
    else:
        outcome = "success" if p99_s <= scenario.latency_objective_s else "latency"
    num_ended = engine.num_finished + engine.num_rejected
    return Outcome(
        outcome=outcome,
        num_agents=engine.num_arrived,
        num_finished=engine.num_finished,
        num_rejected=engine.num_rejected,
        num_phases=engine.num_phases,
        num_requests=latencies.num_samples,
        p50_s=latencies.quantile_s(0.5),
        p99_s=p99_s,
        duration_s=span_s,
        mean_alive=engine.alive_area_s / span_s if span_s else 0.0,
        max_alive=engine.max_alive,
        mean_lifetime_s=engine.lived_s / num_ended if num_ended else 0.0,
        evictions=residency.num_evictions,
        restores=residency.num_restores,
        prefetches=residency.num_prefetches,
        reclaims=residency.num_reclaims,
        signals=engine.num_signals,
        num_events=engine.num_events,
    )
