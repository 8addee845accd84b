"""Ablation 3, reported: per-token latency and dispatch time, cold, warm and with the cache turned off."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ablations.analysis.quantities import estimate, estimate_overhead_pct, estimate_ratio
from ablations.analysis.quantity import Quantity
from ablations.analysis.trials import TrialSet

ARMS = ("cold", "warm", "cache_off", "native")
_DISPATCHED = ("cold", "warm", "cache_off")


def summarise(trials: TrialSet) -> tuple[dict[str, Quantity | None], dict[str, Any]]:
    """Return quantities for each arm, speed-ups of token and dispatch apart, and every token's time."""
    frames = [pd.DataFrame(one["tokens"]) for one in trials.samples("decode")]
    tokens = {arm: _of_arm(frames, arm, "token_us") for arm in (*ARMS, "native_again")}
    dispatch = {arm: _of_arm(frames, arm, "dispatch_us") for arm in _DISPATCHED}
    quantities: dict[str, Quantity | None] = {}
    for arm in ARMS:
        quantities[f"token.{arm}"] = estimate(tokens[arm], "us")
        quantities[f"token_p99.{arm}"] = estimate(tokens[arm], "us", quantile=0.99)
    for arm in _DISPATCHED:
        quantities[f"dispatch.{arm}"] = estimate(dispatch[arm], "us")
    quantities["token_speedup"] = estimate_ratio(tokens["cold"], tokens["warm"])
    quantities["token_speedup_over_cache_off"] = estimate_ratio(tokens["cache_off"], tokens["warm"])
    quantities["dispatch_speedup"] = estimate_ratio(dispatch["cold"], dispatch["warm"])
    quantities["warm_overhead"] = estimate_overhead_pct(tokens["warm"], tokens["native"])
    quantities["remote_floor"] = estimate(_of_arm(frames, "floor", "token_us"), "us")
    quantities["noise_floor"] = estimate_overhead_pct(tokens["native_again"], tokens["native"])
    graph = _of_arm(frames, "native_graph", "token_us")
    if all(graph):
        quantities["token.native_graph"] = estimate(graph, "us")
        quantities["warm_overhead_over_graph"] = estimate_overhead_pct(tokens["warm"], graph)
        quantities["speedup_over_native"] = estimate_ratio(tokens["native"], tokens["warm"])
    return quantities, {"token_us": {arm: [value for one in tokens[arm] for value in one] for arm in ARMS}}


def _of_arm(frames: list[pd.DataFrame], arm: str, column: str) -> list[list[float]]:
    return [frame.loc[frame["arm"] == arm, column].tolist() for frame in frames]
