"""Ablation 2, reported: cost of reserving, committing and releasing arenas, its growth, and density in one budget."""

from __future__ import annotations

from typing import Any

from ablations.analysis.quantities import Quantity, estimate, estimate_ratio
from ablations.analysis.scaling import binned_medians, slope_over_groups, slope_over_range
from ablations.analysis.trials import TrialSet

REQUIRED_VARIANTS = ("arenas",)


def summarise(trials: TrialSet) -> tuple[dict[str, Quantity | None], dict[str, Any]]:
    """Return quantities for each arena size, and slopes over size and over live sessions."""
    samples = trials.samples("arenas")
    sizes = sorted(trials.settings["arena_sizes_mb"])
    quantities: dict[str, Quantity | None] = {}
    for size_mb in sizes:
        reserve = _values(samples, "reserve", "reserve_us", size_mb)
        quantities[f"reserve.{size_mb}"] = estimate(reserve, "us")
        quantities[f"reserve_p99.{size_mb}"] = estimate(reserve, "us", quantile=0.99)
        quantities[f"commit.{size_mb}"] = estimate(_values(samples, "commit", "commit_us", size_mb), "us")
        quantities[f"release.{size_mb}"] = estimate(_release(samples, size_mb, committed=False), "us")
        quantities[f"release_committed.{size_mb}"] = estimate(_release(samples, size_mb, committed=True), "us")
        quantities[f"sessions.{size_mb}"] = estimate(_values(samples, "density", "sessions", size_mb), "sessions")
    every = [[entry["reserve_us"] for entry in one["reserve"]] for one in samples]
    quantities["reserve"] = estimate(every, "us")
    quantities["reserve_p99"] = estimate(every, "us", quantile=0.99)
    quantities["timer_floor"] = estimate([one["timer_floor_us"] for one in samples], "us")
    by_size = [[(entry["size_mb"], 1e3 * entry["reserve_us"]) for entry in one["reserve"]] for one in samples]
    by_count = [[(entry["num_live"] / 1e3, 1e3 * entry["reserve_us"]) for entry in one["reserve"]] for one in samples]
    quantities["slope_over_size"] = slope_over_groups(by_size, "ns/MB")
    quantities["slope_over_sessions"] = slope_over_range(by_count, "ns/1000 sessions")
    largest, smallest = (_values(samples, "density", "sessions", size) for size in (sizes[-1], sizes[0]))
    quantities["density_gain"] = estimate_ratio(smallest, largest)
    series = {
        "sizes_mb": sizes,
        "by_live_sessions": [[(1e3 * x, y / 1e3) for x, y in binned_medians(pairs)] for pairs in by_count],
    }
    return quantities, series


def _values(samples: list[dict[str, Any]], kind: str, name: str, size_mb: int) -> list[list[float]]:
    return [[entry[name] for entry in one[kind] if entry["size_mb"] == size_mb] for one in samples]


def _release(samples: list[dict[str, Any]], size_mb: int, *, committed: bool) -> list[list[float]]:
    return [
        [entry["release_us"] for entry in one["release"] if entry["size_mb"] == size_mb and entry["committed"] is committed]
        for one in samples
    ]
