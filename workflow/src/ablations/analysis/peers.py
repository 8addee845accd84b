"""The peers, reported: latency of each operation through each of them, and how many times Djinn's it is."""

from __future__ import annotations

from typing import Any

from ablations.analysis.quantities import estimate, estimate_ratio
from ablations.analysis.quantity import Quantity
from ablations.analysis.trials import TrialSet

ARMS = ("native", "compiled", "djinn", "ray", "native_beside_rpc", "rpc")


def summarise(trials: TrialSet) -> tuple[dict[str, Quantity | None], dict[str, Any]]:
    """Return medians for every operation and arm, and ratios over Djinn; there are no series beyond them."""
    quantities: dict[str, Quantity | None] = {}
    for variant in trials.variants:
        arms = {arm: [one[f"{arm}_us"] for one in trials.samples(variant)] for arm in ARMS}
        for arm in ARMS:
            quantities[f"{variant}.{arm}"] = estimate(arms[arm], "us")
            quantities[f"{variant}.{arm}_p99"] = estimate(arms[arm], "us", quantile=0.99)
            if arm != "djinn":
                quantities[f"{variant}.{arm}_over_djinn"] = estimate_ratio(arms[arm], arms["djinn"])
    return quantities, {}
