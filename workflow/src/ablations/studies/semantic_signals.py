"""Ablation 4: how many agents can be alive at once under each scheduling policy.

The modes differ by policy alone: same model, same budget, same throttled link to the host pool, same arrivals, waits
and prompts. In the modes that use no signals the agents send none. An agent that runs out of memory is a datum.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from typing import Any

import torch

import djinn
from ablations.measurement.journal import Journal
from ablations.measurement.progress import Progress
from ablations.models import cache_bytes
from ablations.settings import SemanticSignals, TrialSettings
from ablations.studies.agents import Workload
from ablations.studies.on_device import running_runtime
from ablations.studies.probes import Prober
from ablations.studies.results import Measured, require
from ablations.studies.search import Boundary, Outcome, find_boundary

_NUM_CALIBRATION_PHASES = 8
_SIGNALLING = ("proactive", "proactive_plus")

Probe = dict[str, Any]


def run_trial(settings: TrialSettings, variant: str, seed: int, progress: Progress, journal: Journal) -> Measured:
    """Search the largest number of agents alive at once in one mode.

    Raises:
        MeasurementError: logits that differ from native PyTorch, memory that changed while its session waited, or
            sessions left behind by a probe.
    """
    study = settings.study
    assert isinstance(study, SemanticSignals), "the settings are another study's"
    with running_runtime(settings, **_server_settings(study, variant)):
        workload = Workload(study, seed, settings.device)
        prober = Prober(workload, sends_signals=variant in _SIGNALLING, seed=seed)
        # The first crowd also pays for threads, connections and pages, and verifies what waits: it decides nothing.
        warmup = journal.step("warmup", lambda: _warm_up(prober, study, variant))
        calibration = journal.step("calibration", lambda: _calibrate(workload, warmup))
        common = journal.step("common", lambda: prober.probe(study.common_agents, 0))
        probes, found = _search(prober, study, calibration, common, variant, progress, journal)
        stats = djinn.stats()
    _check_mode(variant, [warmup, common, *probes])
    require(variant == "none" or warmup["checksums_compared"] > 0, "no session's memory was verified")
    return Measured(
        samples={
            "probes": probes,
            "common": common,
            "warmup": warmup,
            "calibration": calibration,
            "boundary": {
                "largest_success": found.largest_success,
                "smallest_failure": found.smallest_failure,
                "middle": found.middle,
                "is_budget_hit": found.is_budget_hit,
            },
            "bound": agent_bound(study, calibration, variant, study.latency_objective_s),
        },
        counters={"scheduler": stats["scheduler"], "plan_cache": stats["plan_cache"]},
        checks={
            "logits_bit_exact": True,
            "memory_unchanged_by_waits": True,
            "no_session_left": True,
            "signals_only_in_their_mode": True,
        },
    )


def agent_bound(study: SemanticSignals, calibration: dict[str, float], mode: str, response_s: float) -> float:
    """Return how many agents can be alive if requests take `response_s`: the lowest of memory, processor, link and pool.

    By Little's law N = X (W + R) agents cycle through waits of W and responses of R; the throughput X cannot exceed what
    the slots, the processor and one direction of the link serve. R at the objective bounds N from above.
    """
    if mode == "none":
        return float(study.slots)
    swap_s = calibration["swap_out_s"] + calibration["swap_in_s"]
    idle_s = study.idle_timeout_s if mode == "reactive" else 0.0
    memory_per_s = study.slots / (calibration["phase_s"] + swap_s + idle_s)
    throughput_per_s = min(
        memory_per_s, 1 / (calibration["steps"] * calibration["compute_s"]), 1 / calibration["swap_in_s"]
    )
    host = study.slots + study.host_pool_mb // study.arena_mb
    return float(min(throughput_per_s * (calibration["wait_mean_s"] + response_s), host))


def _server_settings(study: SemanticSignals, mode: str) -> dict[str, Any]:
    return {
        "scheduling_mode": mode,
        "data_budget_mb": study.slots * study.arena_mb,
        "host_pool_mb": study.host_pool_mb,
        "idle_timeout_s": study.idle_timeout_s,
        "swap_bandwidth_gb_per_s": study.swap_bandwidth_gb_per_s,
        "session_arena_mb": study.arena_mb,
        "plan_pace_s": study.token_interval_s,
        # A request that waits for memory longer than this has missed every objective anyway.
        "admission_timeout_s": 4 * study.latency_objective_s + study.wait_max_s,
    }


def _calibrate(workload: Workload, warmup: Probe) -> dict[str, float]:
    """Measure one agent alone: seconds of its prefill, of a step and of a phase; swaps are those of the first crowd."""
    study = workload.study
    prefills_s: list[float] = []
    steps_s: list[float] = []
    computes_s: list[float] = []
    with djinn.session("calibration"), torch.no_grad():
        cache = workload.open_cache()
        for repetition in range(_NUM_CALIBRATION_PHASES):
            for number, step in enumerate(workload.steps(0, 0)):
                start_s = time.monotonic()
                workload.compute(step, cache)
                (steps_s if number else prefills_s).append(time.monotonic() - start_s)
                call = djinn.last_call()
                assert call is not None, "a call left no timestamps"
                computes_s.append((call.finished_ns - call.started_ns) / 1e9)
            if not repetition:  # the first calls made their plans
                prefills_s.clear()
                steps_s.clear()
                computes_s.clear()
    step_s = statistics.median(steps_s)
    stated_s = cache_bytes(study.model) / (study.swap_bandwidth_gb_per_s * 1e9)
    mean_out_s = warmup["swap_out_us"] / 1e6 / warmup["swap_outs"] if warmup["swap_outs"] else stated_s
    mean_in_s = warmup["swap_in_us"] / 1e6 / warmup["swap_ins"] if warmup["swap_ins"] else stated_s
    return {
        "prefill_s": statistics.median(prefills_s),
        "step_s": step_s,
        "compute_s": statistics.median(computes_s),
        "steps": float(study.decode_tokens),
        "pace_s": study.token_interval_s,
        "phase_s": study.decode_tokens * step_s,
        # Whole arenas go both ways, but for a mode that keeps copies: its mean is mostly of changes.
        "swap_out_s": max(mean_out_s, stated_s),
        "delta_out_s": mean_out_s,
        "swap_in_s": mean_in_s,
        "wait_min_s": study.wait_min_s,
        "wait_max_s": study.wait_max_s,
        "wait_mean_s": (study.wait_min_s + study.wait_max_s) / 2,
        "estimate_error": study.estimate_error,
        "idle_timeout_s": study.idle_timeout_s,
        "latency_objective_s": study.latency_objective_s,
        "arrivals_per_s": study.arrivals_per_s,
        "slots": float(study.slots),
        "host_slots": float(study.host_pool_mb // study.arena_mb),
    }


def _warm_up(prober: Prober, study: SemanticSignals, mode: str) -> Probe:
    """Let more agents live than fit, so that sessions are swapped and verified; in mode none, as many as fit."""
    num_agents = study.slots if mode == "none" else 2 * study.slots + 1
    return prober.probe(num_agents, 0, steady_phases=1, verifies_memory=True)


def _search(
    prober: Prober,
    study: SemanticSignals,
    calibration: dict[str, float],
    common: Probe,
    mode: str,
    progress: Progress,
    journal: Journal,
) -> tuple[list[Probe], Boundary]:
    probes: list[Probe] = []
    repetitions = Counter([study.common_agents])

    def probe(num_agents: int) -> Outcome:
        repetition = repetitions[num_agents]
        repetitions[num_agents] += 1
        probes.append(journal.step(f"{num_agents} agents", lambda: prober.probe(num_agents, repetition)))
        progress.note(f"{mode}: {num_agents} agents, {probes[-1]['outcome']}")
        progress.update(len(probes), study.max_probes, mode)
        return _outcome(study, probes[-1])

    # Queues lengthen responses from an unloaded phase to the objective; halfway is where the boundary is likely.
    likely_s = (calibration["phase_s"] + study.latency_objective_s) / 2
    start = max(1, int(agent_bound(study, calibration, mode, likely_s)))
    known = study.common_agents, _outcome(study, common)
    return probes, find_boundary(probe, start=start, max_probes=study.max_probes, known=known)


def _outcome(study: SemanticSignals, probe: Probe) -> Outcome:
    """Return whether a crowd kept the objective, and how many would just keep it.

    By Little's law N = X (W + R): a server that is full serves as many requests a second whatever the number of agents, so
    with responses of R instead of R' they are in the ratio of W + R to W + R'.
    """
    wait_s = (study.wait_min_s + study.wait_max_s) / 2
    estimate = None
    if probe["outcome"] in ("success", "latency"):
        estimate = probe["num_agents"] * (wait_s + study.latency_objective_s) / (wait_s + probe["p99_ms"] / 1e3)
    return Outcome(probe["outcome"] == "success", estimate)


def _check_mode(mode: str, probes: list[Probe]) -> None:
    for probe in probes:
        require(mode in _SIGNALLING or probe["signals"] == 0, f"agents sent {probe['signals']} signals in mode {mode}")
        require(mode != "none" or probe["evictions"] == 0, f"mode none evicted {probe['evictions']} times")
        require(
            mode == "proactive_plus" or probe["prefetches"] == probe["reclaims"] == 0, f"mode {mode} kept clean copies"
        )
        if probe["outcome"] == "success":
            require(probe["max_alive"] == probe["num_agents"], "a probe succeeded without all agents alive at once")
