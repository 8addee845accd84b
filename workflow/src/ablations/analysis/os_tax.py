"""Ablation 1, reported: latency of each scale natively and through Djinn, and where the difference goes."""

from __future__ import annotations

from typing import Any

from ablations.analysis.quantities import (
    estimate,
    estimate_difference,
    estimate_overhead_by_rounds_pct,
    estimate_overhead_pct,
    estimate_ratio,
    sample_quantile,
)
from ablations.analysis.quantity import Quantity
from ablations.analysis.trials import TrialSet

_ARMS = ("native", "djinn_warm", "djinn_cold")


def summarise(trials: TrialSet) -> tuple[dict[str, Quantity | None], dict[str, Any]]:
    """Return the quantities of every measured scale; there are no series beyond them.

    Warm calls and the A/A arm have one block in each of native's rounds, and are compared round by round; cold calls
    are too few for that. The first call that leads into a block follows a pause: what both processes pay for having slept
    is reported apart.
    """
    quantities: dict[str, Quantity | None] = {}
    for variant in trials.variants:
        samples = trials.samples(variant)
        arms = {arm: [one[f"{arm}_us"] for one in samples] for arm in (*_ARMS, "native_again")}
        for arm in _ARMS:
            quantities[f"{variant}.{arm}"] = estimate(arms[arm], "us")
        quantities[f"{variant}.djinn_warm_p99"] = estimate(arms["djinn_warm"], "us", quantile=0.99)
        quantities[f"{variant}.native_p99"] = estimate(arms["native"], "us", quantile=0.99)
        blocks = (samples[0]["block"], samples[0]["block"])
        quantities[f"{variant}.warm_overhead"] = estimate_overhead_by_rounds_pct(
            arms["djinn_warm"], arms["native"], blocks=blocks
        )
        quantities[f"{variant}.cold_overhead"] = estimate_overhead_pct(arms["djinn_cold"], arms["native"])
        quantities[f"{variant}.remote_floor"] = estimate([one["floor_us"] for one in samples], "us")
        quantities[f"{variant}.noise_floor"] = estimate_overhead_by_rounds_pct(
            arms["native_again"], arms["native"], blocks=blocks
        )
        woken = {arm: [_first_of_turns(one, arm) for one in samples] for arm in ("native", "djinn_warm")}
        quantities[f"{variant}.after_pause_overhead"] = estimate_overhead_by_rounds_pct(
            woken["djinn_warm"], woken["native"], blocks=(1, 1)
        )
        quantities[f"{variant}.warm_difference"] = estimate_difference(arms["djinn_warm"], arms["native"], "us")
        if all("native_graph_us" in one for one in samples):
            graph = [one["native_graph_us"] for one in samples]
            quantities[f"{variant}.native_graph"] = estimate(graph, "us")
            quantities[f"{variant}.warm_overhead_over_graph"] = estimate_overhead_pct(arms["djinn_warm"], graph)
        for kind in ("warm", "cold"):
            for part in samples[0][f"{kind}_breakdown_us"]:
                parts = [one[f"{kind}_breakdown_us"][part] for one in samples]
                quantities[f"{variant}.{kind}_{part}"] = estimate(parts, "us")
    if {"micro_add", "full_forward"} <= set(trials.variants):
        small, large = ([[_slowdown(one)] for one in trials.samples(scale)] for scale in ("micro_add", "full_forward"))
        quantities["amortisation"] = estimate_ratio(small, large)
    return quantities, {}


def _first_of_turns(samples: dict[str, Any], arm: str) -> list[float]:
    """Return the first call of each turn of an arm."""
    lead_ins_us: list[float] = samples["lead_in_us"][arm]
    num_turns = len(samples[f"{arm}_us"]) // samples["block"]
    return lead_ins_us[:: len(lead_ins_us) // num_turns]


def _slowdown(samples: dict[str, Any]) -> float:
    return sample_quantile(samples["djinn_warm_us"], 0.5) / sample_quantile(samples["native_us"], 0.5)
