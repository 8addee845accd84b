"""One probe of ablation 4: a crowd of so many agents, and what became of it."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np

import djinn
from ablations.settings import SemanticSignals
from ablations.studies.agents import Workload
from ablations.studies.crowd import AgentLog, Crowd
from ablations.studies.results import require
from ablations.traces import AgentTrace, draw_traces, repetition_seed

# Counters of the scheduler that are reported for each probe.
_COUNTERS = (
    "signals",
    "evictions",
    "reclaims",
    "restores",
    "prefetches",
    "swap_outs",
    "swap_ins",
    "swapped_out_bytes",
    "swapped_in_bytes",
    "swap_out_us",
    "swap_in_us",
)
_PARTS = ("latency", "restore", "queue", "compute")


class Prober:
    """Sends crowds to one running server."""

    def __init__(self, workload: Workload, *, sends_signals: bool, seed: int) -> None:
        self._workload = workload
        self._sends_signals = sends_signals
        self._seed = seed

    def probe(
        self, num_agents: int, repetition: int, *, steady_phases: int | None = None, verifies_memory: bool = False
    ) -> dict[str, Any]:
        """Let a crowd live and describe it as plain data.

        Args:
            num_agents: alive at once.
            repetition: of this number; each has arrivals and waits of its own, the same in every mode.
            steady_phases, verifies_memory: see `Crowd`; the default is the study's number of phases.

        Raises:
            MeasurementError: an agent failed, or sessions are left behind.
        """
        study = self._workload.study
        steady_phases = study.steady_phases if steady_phases is None else steady_phases
        traces = _draw(study, num_agents, repetition_seed(self._seed, repetition))
        lifetime_s = traces[-1].arrival_s + (steady_phases + 4) * (study.wait_max_s + study.latency_objective_s)
        before = djinn.stats()["scheduler"]
        start_s = time.monotonic()
        crowd = Crowd(
            self._workload,
            traces,
            sends_signals=self._sends_signals,
            timeout_s=2 * lifetime_s,
            steady_phases=steady_phases,
            verifies_memory=verifies_memory,
        )
        crowd.run()
        after = djinn.stats()["scheduler"]
        require(after["num_sessions"] == 0, f"{after['num_sessions']} sessions are left after a probe")
        return {
            "num_agents": num_agents,
            "repetition": repetition,
            "duration_s": time.monotonic() - start_s,
            **_describe(crowd.logs, study),
            **{name: after[name] - before[name] for name in _COUNTERS},
            "timeline": msgspec.to_builtins(crowd.timeline),
        }


def _draw(study: SemanticSignals, num_agents: int, seed: int) -> list[AgentTrace]:
    return draw_traces(
        num_agents,
        seed=seed,
        arrivals_per_s=study.arrivals_per_s,
        wait_min_s=study.wait_min_s,
        wait_max_s=study.wait_max_s,
        estimate_error=study.estimate_error,
        num_waits=4 * (1 + study.steady_phases),
    )


def _describe(logs: list[AgentLog], study: SemanticSignals) -> dict[str, Any]:
    requests = [request for log in logs for request in log.requests if request.is_steady]
    parts_ms = {part: [1e3 * getattr(request, f"{part}_s") for request in requests] for part in _PARTS}
    latencies_ms = parts_ms.pop("latency")
    p50_ms, p99_ms = (float(np.percentile(latencies_ms, q)) for q in (50, 99)) if latencies_ms else (0.0, 0.0)
    return {
        "outcome": _outcome(logs, p99_ms, study),
        "num_requests": len(requests),
        "agents_finished": sum(log.outcome == "finished" for log in logs),
        "oom_agents": sum(log.outcome == "out_of_memory" for log in logs),
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        "request_latency_ms": latencies_ms,
        **{f"request_{part}_ms": values for part, values in parts_ms.items()},
        "checksums_compared": sum(log.num_checksums for log in logs),
        **_alive(logs),
    }


def _outcome(logs: list[AgentLog], p99_ms: float, study: SemanticSignals) -> str:
    if any(log.outcome == "out_of_memory" for log in logs):
        return "out_of_memory"
    if any(log.outcome != "finished" for log in logs):
        return "timeout"
    return "success" if p99_ms <= 1e3 * study.latency_objective_s else "latency"


def _alive(logs: list[AgentLog]) -> dict[str, float]:
    """Return the largest number of agents alive at once, the time-weighted mean, and what Little's law says it is.

    By the law the mean number alive is the rate of arrivals times the mean life (Little, "A Proof for the Queuing
    Formula L = λW", Operations Research 9(3), 1961).
    """
    changes = sorted([(log.started_s, 1) for log in logs] + [(log.ended_s, -1) for log in logs])
    alive = largest = 0
    area = last_s = 0.0
    for at_s, change in changes:
        area += alive * (at_s - last_s)
        alive, last_s = alive + change, at_s
        largest = max(largest, alive)
    span_s = changes[-1][0] - changes[0][0]
    lives_s = [log.ended_s - log.started_s for log in logs]
    little = len(logs) / span_s * float(np.mean(lives_s)) if span_s > 0 else float(largest)
    return {
        "max_alive": largest,
        "mean_alive": area / span_s if span_s > 0 else float(largest),
        "little_alive": little,
        "mean_life_s": float(np.mean(lives_s)),
    }
