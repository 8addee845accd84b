"""Ablation 2, reported: cost of reserving, committing and releasing arenas, its growth, and density in one budget.

What compares sizes is None where a configuration has a single one.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pandas as pd

from ablations.analysis.quantities import estimate, estimate_overhead_pct, estimate_ratio
from ablations.analysis.quantity import Quantity
from ablations.analysis.scaling import binned_medians, fit_power_law, slope_over_groups, slope_over_range
from ablations.analysis.trials import TrialSet


def summarise(trials: TrialSet) -> tuple[dict[str, Quantity | None], dict[str, Any]]:
    """Return quantities for each arena size, and slopes over size and over live sessions."""
    samples = trials.samples("arenas")
    sizes = sorted(trials.settings["arena_sizes_mb"])
    frames = {
        kind: [pd.DataFrame(one[kind]) for one in samples] for kind in ("reserve", "commit", "release", "density")
    }
    committed = [frame[frame["committed"]] for frame in frames["release"]]
    untouched = [frame[~frame["committed"]] for frame in frames["release"]]
    quantities: dict[str, Quantity | None] = {}
    for size_mb in sizes:
        reserve = _of_size(frames["reserve"], "reserve_us", size_mb)
        quantities[f"reserve.{size_mb}"] = estimate(reserve, "us")
        quantities[f"reserve_p99.{size_mb}"] = estimate(reserve, "us", quantile=0.99)
        quantities[f"commit.{size_mb}"] = estimate(_of_size(frames["commit"], "commit_us", size_mb), "us")
        quantities[f"release.{size_mb}"] = estimate(_of_size(untouched, "release_us", size_mb), "us")
        quantities[f"release_committed.{size_mb}"] = estimate(_of_size(committed, "release_us", size_mb), "us")
        quantities[f"sessions.{size_mb}"] = estimate(_of_size(frames["density"], "sessions", size_mb), "sessions")
    every = [frame["reserve_us"].tolist() for frame in frames["reserve"]]
    quantities["reserve"] = estimate(every, "us")
    quantities["reserve_p99"] = estimate(every, "us", quantile=0.99)
    # Sizes come in random order, so every second reservation is an arm identical to the others, and alternates with it.
    quantities["noise_floor"] = estimate_overhead_pct([one[1::2] for one in every], [one[::2] for one in every])
    quantities["timer_floor"] = estimate([one["timer_floor_us"] for one in samples], "us")
    by_size = [_pairs(frame["size_mb"], 1e3 * frame["reserve_us"]) for frame in frames["reserve"]]
    by_count = [_pairs(frame["num_live"] / 1e3, 1e3 * frame["reserve_us"]) for frame in frames["reserve"]]
    quantities["slope_over_size"] = slope_over_groups(by_size, "ns/MB")
    quantities["slope_over_sessions"] = slope_over_range(by_count, "ns/1000 sessions")
    quantities |= _scaling(frames, sizes)
    growth = [pd.DataFrame(one["growth"])["median_us"].tolist() for one in samples]
    tenth = max(1, len(growth[0]) // 10)
    first, last = [one[:tenth] for one in growth], [one[-tenth:] for one in growth]
    quantities["reserve_with_many"] = estimate(last, "us")
    quantities["growth_with_many"] = estimate_ratio(last, first)
    smallest, largest = (_of_size(frames["density"], "sessions", size) for size in (sizes[0], sizes[-1]))
    quantities["density_gain"] = estimate_ratio(smallest, largest) if len(sizes) > 1 else None
    series = {
        "sizes_mb": sizes,
        "by_live_sessions": [[(1e3 * x, y / 1e3) for x, y in binned_medians(pairs)] for pairs in by_count],
    }
    return quantities, series


def _scaling(frames: dict[str, list[pd.DataFrame]], sizes: list[int]) -> dict[str, Quantity | None]:
    """Return how costs grow with size, what the smallest arena costs beside the largest, and beside its own pages."""
    found: dict[str, Quantity | None] = {}
    for kind in ("reserve", "commit"):
        pairs = [_pairs(frame["size_mb"], frame[f"{kind}_us"]) for frame in frames[kind]]
        found[f"{kind}_exponent"], found[f"{kind}_residual"] = fit_power_law(pairs)
    smallest, largest = (_of_size(frames["reserve"], "reserve_us", size) for size in (sizes[0], sizes[-1]))
    found["penalty_of_smallest"] = estimate_overhead_pct(smallest, largest) if len(sizes) > 1 else None
    committed = _of_size(frames["commit"], "commit_us", sizes[0])
    found["reserve_over_commit"] = _as_pct(estimate_ratio(smallest, committed))
    return found


def _as_pct(ratio: Quantity | None) -> Quantity | None:
    if ratio is None:
        return None
    ends = {name: 100 * getattr(ratio, name) for name in ("value", "low", "high")}
    return msgspec.structs.replace(ratio, unit="%", **ends)


def _of_size(frames: list[pd.DataFrame], column: str, size_mb: int) -> list[list[float]]:
    return [frame.loc[frame["size_mb"] == size_mb, column].tolist() for frame in frames]


def _pairs(x: pd.Series, y: pd.Series) -> list[tuple[float, float]]:
    return list(zip(x.tolist(), y.tolist(), strict=True))
