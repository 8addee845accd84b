"""Ablation 4: how many agents can be alive at once with phase signals, with an idle timeout, and without eviction.

The three modes differ by policy alone: same model, same budget, same throttled link to the host pool, same arrivals,
waits and prompts. In the modes without signals the agents send none. An agent that runs out of memory is a datum.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch

import djinn
from ablations.measurement.progress import Progress
from ablations.models import cache_bytes
from ablations.settings import SemanticSignals, TrialSettings
from ablations.studies.agents import AgentLog, Crowd, Workload, draw_traces
from ablations.studies.on_device import running_runtime
from ablations.studies.results import Measured, require
from ablations.studies.search import Boundary, find_boundary

_MIB = 1024**2
_NUM_CALIBRATION_PHASES = 8

Probe = dict[str, Any]


def run_trial(settings: TrialSettings, variant: str, seed: int, progress: Progress) -> Measured:
    """Search the largest number of agents alive at once in one mode.

    Raises:
        MeasurementError: logits that differ from native PyTorch, or sessions left behind by a probe.
    """
    study = settings.study
    assert isinstance(study, SemanticSignals), "the settings are another study's"
    overrides = {
        "scheduling_mode": variant,
        "data_budget_mb": study.slots * study.arena_mb,
        "host_pool_mb": study.host_pool_mb,
        "idle_timeout_s": study.idle_timeout_s,
        "swap_bandwidth_gb_per_s": study.swap_bandwidth_gb_per_s,
        "session_arena_mb": study.arena_mb,
        "admission_timeout_s": _admission_timeout_s(study),
    }
    with running_runtime(settings, **overrides):
        workload = Workload(study, seed)
        calibration = _calibrate(workload, variant)
        probes: list[Probe] = []

        def probe(num_agents: int) -> bool:
            probes.append(_probe(workload, num_agents, variant, seed))
            progress.note(f"{variant}: {num_agents} agents, {probes[-1]['outcome']}")
            progress.update(len(probes), study.max_probes, variant)
            return bool(probes[-1]["outcome"] == "success")

        prediction = _bound(study, calibration, variant, calibration["compute_s"] + calibration["swap_s"])
        bound = _bound(study, calibration, variant, study.latency_objective_s)
        # The first crowd also pays for threads, connections and pages; it is kept apart and decides nothing.
        warmup = _probe(workload, max(1, int(prediction) // 2), variant, seed)
        found = find_boundary(probe, start=max(1, int(prediction)), max_probes=study.max_probes)
        stats = djinn.stats()
    _check_mode(variant, probes)
    return Measured(
        samples={
            **_samples(probes, found, calibration),
            "prediction": prediction,
            "bound": bound,
            "warmup": warmup,
        },
        counters={"scheduler": stats["scheduler"], "plan_cache": stats["plan_cache"]},
        checks={"logits_bit_exact": True, "no_session_left": True, "signals_only_in_their_mode": True},
    )


def _admission_timeout_s(study: SemanticSignals) -> float:
    # A request that waits for memory longer than this has missed every objective anyway.
    return 4 * study.latency_objective_s + study.wait_max_s


def _calibrate(workload: Workload, mode: str) -> dict[str, float]:
    """Measure one agent alone: seconds of a compute phase, and of a swap of its arena in one direction."""
    study = workload.study
    phases_s = []
    with djinn.session("calibration"):
        cache = workload.open_cache()
        with torch.no_grad():
            for number in range(_NUM_CALIBRATION_PHASES):
                phase = number % workload.num_phases
                start_s = time.monotonic()
                workload.compute_phase(0, phase, cache)
                phases_s.append(time.monotonic() - start_s)
    swap_s = cache_bytes(study.model) / (study.swap_bandwidth_gb_per_s * 1e9)
    return {
        "compute_s": statistics.median(phases_s[1:]),
        "wait_mean_s": (study.wait_min_s + study.wait_max_s) / 2,
        "swap_s": swap_s,
        "idle_timeout_s": study.idle_timeout_s if mode == "reactive" else 0.0,
        "slots": float(study.slots),
    }


def _bound(study: SemanticSignals, calibration: dict[str, float], mode: str, response_s: float) -> float:
    """Return how many agents can be alive if requests take `response_s`: the lowest of memory, processor, link and pool.

    By Little's law N = X (W + R) agents cycle through waits of W and responses of R; the throughput X cannot exceed what
    the slots, one processor and one direction of the link serve. R at the objective bounds N from above; R without
    queueing predicts where queues begin.
    """
    if mode == "none":
        return float(study.slots)
    compute_s, swap_s = calibration["compute_s"], calibration["swap_s"]
    memory_per_s = study.slots / (compute_s + 2 * swap_s + calibration["idle_timeout_s"])
    throughput_per_s = min(memory_per_s, 1 / compute_s, 1 / swap_s)
    host = study.slots + study.host_pool_mb // study.arena_mb
    return float(min(throughput_per_s * (calibration["wait_mean_s"] + response_s), host))


def _probe(workload: Workload, num_agents: int, mode: str, seed: int) -> Probe:
    study = workload.study
    traces = draw_traces(study, num_agents, seed)
    lifetime_s = traces[-1].arrival_s + (study.phases + 3) * (study.wait_max_s + study.latency_objective_s)
    before = djinn.stats()["scheduler"]
    start_s = time.monotonic()
    crowd = Crowd(workload, traces, sends_signals=mode == "proactive", timeout_s=2 * lifetime_s)
    crowd.run()
    after = djinn.stats()["scheduler"]
    require(after["num_sessions"] == 0, f"{after['num_sessions']} sessions are left after a probe")
    return {
        "num_agents": num_agents,
        "duration_s": time.monotonic() - start_s,
        **_describe(crowd.logs, study),
        "signals": after["signals"] - before["signals"],
        "evictions": after["evictions"] - before["evictions"],
        "restores": after["restores"] - before["restores"],
        "swapped_bytes": after["swapped_out_bytes"] - before["swapped_out_bytes"],
    }


def _describe(logs: list[AgentLog], study: SemanticSignals) -> dict[str, Any]:
    latencies_ms = [1e3 * latency_s for log in logs for latency_s in log.request_latencies_s]
    p50_ms, p99_ms = (float(np.percentile(latencies_ms, q)) for q in (50, 99)) if latencies_ms else (0.0, 0.0)
    num_oom = sum(log.outcome == "out_of_memory" for log in logs)
    num_finished = sum(log.outcome == "finished" for log in logs)
    if num_oom:
        outcome = "out_of_memory"
    elif num_finished < len(logs):
        outcome = "timeout"
    else:
        outcome = "success" if p99_ms <= 1e3 * study.latency_objective_s else "latency"
    return {
        "outcome": outcome,
        "agents_finished": num_finished,
        "oom_agents": num_oom,
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        "request_latency_ms": latencies_ms,
        **_alive(logs),
    }


def _alive(logs: list[AgentLog]) -> dict[str, float]:
    """Return the largest number of agents alive at once and the time-weighted mean over the probe."""
    changes = sorted([(log.started_s, 1) for log in logs] + [(log.ended_s, -1) for log in logs])
    alive = largest = 0
    for _, change in changes:
        alive += change
        largest = max(largest, alive)
    lived_s = sum(log.ended_s - log.started_s for log in logs)
    span_s = changes[-1][0] - changes[0][0]
    return {"max_alive": largest, "mean_alive": lived_s / span_s if span_s > 0 else float(largest)}


def _check_mode(mode: str, probes: list[Probe]) -> None:
    for probe in probes:
        require(mode == "proactive" or probe["signals"] == 0, f"agents sent {probe['signals']} signals in mode {mode}")
        require(mode != "none" or probe["evictions"] == 0, f"mode none evicted {probe['evictions']} times")
        if probe["outcome"] == "success":
            require(probe["max_alive"] == probe["num_agents"], "a probe succeeded without all agents alive at once")


def _samples(probes: list[Probe], found: Boundary, calibration: dict[str, float]) -> dict[str, Any]:
    return {
        "probes": probes,
        "max_agents": found.largest_success,
        "lower": found.largest_success,
        "upper": found.smallest_failure,
        "is_budget_hit": found.is_budget_hit,
        "calibration": calibration,
    }
