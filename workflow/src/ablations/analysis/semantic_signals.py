"""Ablation 4, reported: agents alive at once in each mode, what their requests consist of, and every probe."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from scipy import special

from ablations.analysis.brackets import Bracket, estimate_bracketed, estimate_bracketed_ratio, read_bracket
from ablations.analysis.quantities import estimate, estimate_overhead_pct, estimate_ratio
from ablations.analysis.quantity import CONFIDENCE, MIN_TRIALS_FOR_NOISE, Quantity
from ablations.analysis.trials import TrialSet

_PROBE_FIELDS = (
    "num_agents",
    "outcome",
    "p50_ms",
    "p99_ms",
    "max_alive",
    "mean_alive",
    "little_alive",
    "evictions",
    "oom_agents",
)
_PARTS = ("restore", "queue", "compute")
_GAINS = (
    ("reactive", "none"),
    ("proactive", "none"),
    ("proactive", "reactive"),
    ("proactive", "lru"),
    ("proactive_plus", "proactive"),
    ("proactive_plus", "lru"),
)

Samples = list[dict[str, Any]]


def summarise(trials: TrialSet) -> tuple[dict[str, Quantity | None], dict[str, Any]]:
    """Return quantities for each mode and the gains of one over another, paired by trial."""
    quantities: dict[str, Quantity | None] = {}
    series: dict[str, Any] = {"probes": [], "success": {}, "timelines": {}}
    agents: dict[str, list[Bracket]] = {}
    for mode in trials.variants:
        samples = trials.samples(mode)
        agents[mode] = [read_bracket(one["boundary"]) for one in samples]
        quantities[f"agents.{mode}"] = estimate_bracketed(agents[mode], "agents")
        quantities[f"largest.{mode}"] = estimate([[one["boundary"]["largest_success"]] for one in samples], "agents")
        quantities[f"bound.{mode}"] = estimate([[one["bound"]] for one in samples], "agents")
        quantities |= _at(mode, "boundary", [_boundary_probes(one) for one in samples])
        quantities |= _at(mode, "common", [[one["common"]] for one in samples])
        series["probes"].extend(
            {"mode": mode, "trial": trial, **{name: probe[name] for name in _PROBE_FIELDS}}
            for trial, one in enumerate(samples)
            for probe in one["probes"]
        )
        series["success"][mode] = _success(samples)
        series["timelines"][mode] = samples[0]["common"]["timeline"]
    for better, worse in _GAINS:
        quantities[f"gain.{better}_over_{worse}"] = estimate_bracketed_ratio(agents[better], agents[worse])
    # Without eviction memory alone says how many there are, the same at every trial: that would dilute the noise.
    quantities["noise_floor"] = noise_floor(
        {mode: [bracket.middle for bracket in brackets] for mode, brackets in agents.items() if mode != "none"}
    )
    quantities["latency.proactive_over_reactive"] = _latency_ratio(trials, "proactive", "reactive")
    quantities |= _calibration(trials)
    return quantities, series


def expected_gain(calibration: dict[str, float]) -> float:
    """Return what proactive eviction gains over a timeout where memory binds: 1 + tau / (c + 2 s).

    A slot serves one agent for a compute phase c and two swaps s; a timeout tau adds to that.
    """
    swaps_s = calibration["swap_out_s"] + calibration["swap_in_s"]
    return 1 + calibration["idle_timeout_s"] / (calibration["phase_s"] + swaps_s)


def noise_floor(agents: dict[str, list[float]]) -> Quantity | None:
    """Compare every second trial of a mode with the one before it, over all modes: by how many percent identical arms differ.

    The modes of a trial run at different times, so their pairs are taken as independent of each other; a drift that lasts
    from one trial to the next would be understated.

    Args:
        agents: for each mode the agents of each trial, in order.

    Returns:
        The excess of agents alive at once, each pair of trials being an invocation; None where no mode has four trials
        of which each sustained any agent.
    """
    enough = [trials for trials in agents.values() if len(trials) >= MIN_TRIALS_FOR_NOISE and min(trials) > 0]
    pairs = [pair for trials in enough for pair in zip(trials[1::2], trials[::2], strict=False)]
    return estimate_overhead_pct([[one] for one, _ in pairs], [[other] for _, other in pairs]) if pairs else None


def _boundary_probes(one: dict[str, Any]) -> Samples:
    return [probe for probe in one["probes"] if probe["num_agents"] == one["boundary"]["largest_success"]]


def _at(mode: str, place: str, invocations: list[Samples]) -> dict[str, Quantity | None]:
    """Estimate latencies and swaps of the probes at one place; None for a mode that did not succeed there."""
    names = ["p50", "p99", *_PARTS, "swaps", "swap_bytes"]
    if any(probe["outcome"] != "success" and place == "common" for probes in invocations for probe in probes) or any(
        not sum(probe["num_requests"] for probe in probes) for probes in invocations
    ):
        return {f"{place}_{name}.{mode}": None for name in names}
    latencies = [[value for probe in probes for value in probe["request_latency_ms"]] for probes in invocations]
    found: dict[str, Quantity | None] = {
        f"{place}_p50.{mode}": estimate(latencies, "ms"),
        f"{place}_p99.{mode}": estimate(latencies, "ms", quantile=0.99),
    }
    for part in _PARTS:
        values = [[value for probe in probes for value in probe[f"request_{part}_ms"]] for probes in invocations]
        found[f"{place}_{part}.{mode}"] = estimate(values, "ms")
    per_life = [[probe["evictions"] / probe["num_agents"] for probe in probes] for probes in invocations]
    moved = [
        [(probe["swapped_out_bytes"] + probe["swapped_in_bytes"]) / probe["num_agents"] / 2**20 for probe in probes]
        for probes in invocations
    ]
    found[f"{place}_swaps.{mode}"] = estimate(per_life, "swaps/agent")
    found[f"{place}_swap_bytes.{mode}"] = estimate(moved, "MiB/agent")
    return found


def _latency_ratio(trials: TrialSet, measured: str, baseline: str) -> Quantity | None:
    """Compare p99 at the common number of agents; None where a mode did not succeed there."""
    probes = [[one["common"] for one in trials.samples(mode)] for mode in (measured, baseline)]
    if any(probe["outcome"] != "success" or not probe["request_latency_ms"] for arm in probes for probe in arm):
        return None
    latencies = [[probe["request_latency_ms"] for probe in arm] for arm in probes]
    return estimate_ratio(*latencies, quantile=0.99)


def _success(samples: Samples) -> list[dict[str, Any]]:
    """Count successes for each number of agents over all trials, with exact binomial intervals (Clopper and Pearson)."""
    outcomes: dict[int, list[bool]] = defaultdict(list)
    for one in samples:
        for probe in one["probes"]:
            outcomes[probe["num_agents"]].append(probe["outcome"] == "success")
    found = []
    for number, results in sorted(outcomes.items()):
        low, high = _binomial_interval(sum(results), len(results))
        found.append(
            {
                "num_agents": number,
                "num_probes": len(results),
                "successes": sum(results),
                "low": low,
                "high": high,
            }
        )
    return found


def _binomial_interval(successes: int, count: int) -> tuple[float, float]:
    """Return Clopper and Pearson's interval of a proportion, from the beta distributions that bound it."""
    tail = (1 - CONFIDENCE) / 2
    low = special.betaincinv(successes, count - successes + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, count - successes, 1 - tail) if successes < count else 1.0
    return float(low), float(high)


def _calibration(trials: TrialSet) -> dict[str, Quantity | None]:
    calibrations = [one["calibration"] for mode in trials.variants for one in trials.samples(mode)]
    found: dict[str, Quantity | None] = {
        "calibration.compute": estimate([[1e3 * one["phase_s"]] for one in calibrations], "ms"),
        "calibration.swap": estimate([[1e3 * one["swap_in_s"]] for one in calibrations], "ms"),
        "gain.expected": estimate([[expected_gain(one)] for one in calibrations], "ratio"),
    }
    return found
