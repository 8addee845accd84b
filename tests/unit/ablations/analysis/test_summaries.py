"""What each study reports: every quantity by name, value and unit, from samples of which they can be told beforehand."""

from __future__ import annotations

from typing import Any

import pytest

from ablations.analysis import os_tax, peers, plan_cache, session_arena
from summaries import samples_of, summarise

GRAPH = {"native_graph_us": samples_of(8.0)}


def _led_in(later_us: float, first_us: float) -> list[float]:
    """Return three calls for each turn of two samples, of which the first is slow."""
    return [first_us, later_us, later_us] * (len(samples_of(later_us)) // 2)


def _os_tax(native_us: float, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "native_us": samples_of(native_us),
        "native_again_us": samples_of(native_us),
        "djinn_warm_us": samples_of(12.0),
        "djinn_cold_us": samples_of(40.0),
        "floor_us": samples_of(3.0),
        "block": 2,
        "lead_in_us": {"native": _led_in(native_us, 50.0), "djinn_warm": _led_in(12.0, 75.0)},
        "warm_breakdown_us": {"compute": samples_of(5.0)},
        "cold_breakdown_us": {"plan": samples_of(6.0)},
        **more,
    }


@pytest.mark.parametrize("more", [{}, GRAPH], ids=["processor", "accelerator"])
def test_the_os_tax_is_reported_by_scale(more: dict[str, Any]) -> None:
    """A native CUDA graph is compared with where there is one."""
    found, series = summarise(os_tax, {"micro_add": _os_tax(10.0, more)})
    expected = {
        "native": (10.0, "us"),
        "djinn_warm": (12.0, "us"),
        "djinn_cold": (40.0, "us"),
        "djinn_warm_p99": (36.0, "us"),
        "native_p99": (30.0, "us"),
        "warm_overhead": (20.0, "%"),
        "cold_overhead": (300.0, "%"),
        "remote_floor": (3.0, "us"),
        "noise_floor": (0.0, "%"),
        "after_pause_overhead": (50.0, "%"),
        "warm_difference": (2.0, "us"),
        "warm_compute": (5.0, "us"),
        "cold_plan": (6.0, "us"),
    }
    if more:
        expected |= {"native_graph": (8.0, "us"), "warm_overhead_over_graph": (50.0, "%")}
    assert found == {f"micro_add.{name}": value for name, value in expected.items()}
    assert series == {}


def test_the_os_tax_amortises_from_an_addition_to_a_forward_pass() -> None:
    """By how many times the slow-down shrinks: 12/2 over 12/10."""
    found, _ = summarise(os_tax, {"micro_add": _os_tax(2.0, {}), "full_forward": _os_tax(10.0, {})})
    assert found["amortisation"] == (5.0, "ratio")


def test_peers_are_reported_beside_djinn() -> None:
    """Each with its tail, and as a multiple of Djinn's time."""
    times_us = dict(zip(peers.ARMS, (5.0, 6.0, 10.0, 400.0, 7.0, 90.0), strict=True))
    found, series = summarise(peers, {"layer": {f"{arm}_us": samples_of(time) for arm, time in times_us.items()}})
    expected: dict[str, tuple[float, str]] = {}
    for arm, time_us in times_us.items():
        expected[f"layer.{arm}"] = (time_us, "us")
        expected[f"layer.{arm}_p99"] = (3 * time_us, "us")
        if arm != "djinn":
            expected[f"layer.{arm}_over_djinn"] = (time_us / 10.0, "ratio")
    assert found == expected
    assert series == {}


def _tokens(**times_us: float) -> dict[str, Any]:
    dispatched_us = {"cold": 30.0, "warm": 3.0, "cache_off": 60.0}
    return {
        "tokens": [
            {"arm": arm, "token_us": value, "dispatch_us": dispatched_us.get(arm, 0.0)}
            for arm, time_us in times_us.items()
            for value in samples_of(time_us)
        ]
    }


@pytest.mark.parametrize("graph", [{}, {"native_graph": 8.0}], ids=["processor", "accelerator"])
def test_the_plan_cache_is_reported_by_token_and_dispatch(graph: dict[str, float]) -> None:
    """A native CUDA graph is compared with where there is one."""
    times_us = {"cold": 100.0, "warm": 20.0, "cache_off": 200.0, "native": 16.0}
    found, series = summarise(plan_cache, {"decode": _tokens(**times_us, native_again=16.0, floor=4.0, **graph)})
    expected = {f"token.{arm}": (time_us, "us") for arm, time_us in times_us.items()}
    expected |= {f"token_p99.{arm}": (3 * time_us, "us") for arm, time_us in times_us.items()}
    expected |= {
        "dispatch.cold": (30.0, "us"),
        "dispatch.warm": (3.0, "us"),
        "dispatch.cache_off": (60.0, "us"),
        "token_speedup": (5.0, "ratio"),
        "token_speedup_over_cache_off": (10.0, "ratio"),
        "dispatch_speedup": (10.0, "ratio"),
        "warm_overhead": (25.0, "%"),
        "remote_floor": (4.0, "us"),
        "noise_floor": (0.0, "%"),
    }
    if graph:
        expected |= {
            "token.native_graph": (8.0, "us"),
            "warm_overhead_over_graph": (150.0, "%"),
            "speedup_over_native": (0.8, "ratio"),
        }
    assert found == expected
    assert series == {"token_us": {arm: samples_of(time_us) * 2 for arm, time_us in times_us.items()}}


def _arenas() -> dict[str, Any]:
    """Reserving costs 2 us a megabyte, committing always 10 us; a budget holds 64 of the small and 16 of the large."""
    return {
        "reserve": [
            {"size_mb": size, "reserve_us": 2.0 * size, "num_live": live} for live in range(100) for size in (1, 2, 4)
        ],
        "commit": [{"size_mb": size, "commit_us": 10.0} for size in (1, 2, 4)],
        "release": [
            {"size_mb": size, "release_us": size * (7.0 if committed else 3.0), "committed": committed}
            for size in (1, 2, 4)
            for committed in (True, False)
        ],
        "density": [{"size_mb": size, "sessions": 64 // size} for size in (1, 2, 4)],
        "growth": [{"median_us": 2.0}] * 2 + [{"median_us": 5.0}] * 16 + [{"median_us": 8.0}] * 2,
        "timer_floor_us": samples_of(0.1),
    }


def test_arenas_are_reported_by_size_and_by_growth() -> None:
    """Proportional costs have exponent one and constant ones zero; either law fits without a residual."""
    found, series = summarise(session_arena, {"arenas": _arenas()}, arena_sizes_mb=[4, 1, 2])
    expected: dict[str, tuple[float, str]] = {}
    for size in (1, 2, 4):
        expected[f"reserve.{size}"] = (2.0 * size, "us")
        expected[f"reserve_p99.{size}"] = (2.0 * size, "us")
        expected[f"commit.{size}"] = (10.0, "us")
        expected[f"release.{size}"] = (3.0 * size, "us")
        expected[f"release_committed.{size}"] = (7.0 * size, "us")
        expected[f"sessions.{size}"] = (64 / size, "sessions")
    expected |= {
        "reserve": (4.0, "us"),
        "reserve_p99": (8.0, "us"),
        "timer_floor": (0.1, "us"),
        "noise_floor": (0.0, "%"),
        "slope_over_size": (2000.0, "ns/MB"),
        "slope_over_sessions": (0.0, "ns/1000 sessions"),
        "reserve_exponent": (1.0, "exponent"),
        "reserve_residual": (0.0, "%"),
        "commit_exponent": (0.0, "exponent"),
        "commit_residual": (0.0, "%"),
        "penalty_of_smallest": (-75.0, "%"),
        "reserve_over_commit": (20.0, "%"),
        "reserve_with_many": (8.0, "us"),
        "growth_with_many": (4.0, "ratio"),
        "density_gain": (4.0, "ratio"),
    }
    assert found.keys() == expected.keys()
    for name, (value, unit) in expected.items():
        assert found[name] == (pytest.approx(value, abs=1e-9), unit), name
    assert series["sizes_mb"] == [1, 2, 4]
    assert len(series["by_live_sessions"]) == 2
    for points in series["by_live_sessions"]:
        assert [y for _, y in points] == pytest.approx([4.0] * 20)
        assert 0 <= points[0][0] < points[-1][0] <= 99
