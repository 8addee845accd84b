"""Ablation 4, reported: agents alive at once in each mode, latency at that number, and every probe of the search."""

from __future__ import annotations

from typing import Any

from ablations.analysis.quantities import Quantity, estimate, estimate_ratio
from ablations.analysis.trials import TrialSet

_PROBE_FIELDS = ("num_agents", "outcome", "p50_ms", "p99_ms", "max_alive", "mean_alive", "evictions", "oom_agents")


def summarise(trials: TrialSet) -> tuple[dict[str, Quantity | None], dict[str, Any]]:
    """Return quantities for each mode and the gains of one over another, paired by trial."""
    quantities: dict[str, Quantity | None] = {}
    agents: dict[str, list[list[float]]] = {}
    probes: list[dict[str, Any]] = []
    for mode in trials.variants:
        samples = trials.samples(mode)
        agents[mode] = [[one["max_agents"]] for one in samples]
        quantities[f"agents.{mode}"] = estimate(agents[mode], "agents")
        for name in ("bound", "prediction"):
            quantities[f"{name}.{mode}"] = estimate([[one[name]] for one in samples], "agents")
        quantities |= _latencies(mode, samples)
        for trial, one in enumerate(samples):
            probes.extend(
                {"mode": mode, "trial": trial, **{name: probe[name] for name in _PROBE_FIELDS}}
                for probe in one["probes"]
            )
    for better, worse in (("proactive", "reactive"), ("proactive", "none"), ("reactive", "none")):
        quantities[f"gain.{better}_over_{worse}"] = estimate_ratio(agents[better], agents[worse])
    calibration = trials.samples(trials.variants[0])[0]["calibration"]
    for name in ("compute_s", "swap_s"):
        values = [[one["calibration"][name]] for mode in trials.variants for one in trials.samples(mode)]
        quantities[f"calibration.{name.removesuffix('_s')}"] = estimate(values, "s")
    boundaries = {mode: [(one["lower"], one["upper"]) for one in trials.samples(mode)] for mode in trials.variants}
    return quantities, {"probes": probes, "boundaries": boundaries, "slots": calibration["slots"]}


def _latencies(mode: str, samples: list[dict[str, Any]]) -> dict[str, Quantity | None]:
    """Estimate request latency at the largest number that succeeded; None for a mode without any success."""
    requests = []
    for one in samples:
        at_boundary = [probe for probe in one["probes"] if probe["num_agents"] == one["max_agents"]]
        requests.append([value for probe in at_boundary for value in probe["request_latency_ms"]])
    if not all(requests):
        return {f"p50.{mode}": None, f"p99.{mode}": None}
    return {
        f"p50.{mode}": estimate(requests, "ms"),
        f"p99.{mode}": estimate(requests, "ms", quantile=0.99),
    }
