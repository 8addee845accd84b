"""Panels of the simulation: simulated against live, and the largest number of agents over what is varied."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from ablations.rendering.style import LOOKS, label_1_2_5

_POLICIES = ("none", "reactive", "lru", "proactive", "proactive_plus", "oracle")
_LABELS = {"lru": "LRU", "proactive_plus": "proactive+"}
# Gains over the idle timeout: the policy that the analytic line speaks of, and the best one.
_GAINS = ("proactive", "proactive_plus")

Point = dict[str, Any]


def draw_agents(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the simulated largest number of agents against the live one, for each trial, with the diagonal and 10 %."""
    rows = [row for row in result["validation"]["agents"] if row["live"] and row["simulated"]]
    _scatter(axes, rows, "live", "simulated")
    error_pct = result["validation"]["median_abs_error_agents_pct"]
    axes.set_title("SIMULATED against live: agents" + _median(error_pct))
    axes.set_xlabel("largest number of agents (log), live")
    axes.set_ylabel("largest number of agents (log), SIMULATED")


def draw_latencies(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the simulated p99 against the live one, for each probe that ended, with the diagonal and 10 %."""
    rows = [row for row in result["validation"]["probes"] if row["error_pct"] is not None]
    _scatter(axes, rows, "live_p99_ms", "simulated_p99_ms")
    error_pct = result["validation"]["median_abs_error_p99_pct"]
    axes.set_title("SIMULATED against live: p99" + _median(error_pct))
    axes.set_xlabel("p99 request latency (ms, log), live")
    axes.set_ylabel("p99 request latency (ms, log), SIMULATED")


def draw_idle_timeout(axes: Axes, result: dict[str, Any]) -> None:
    """Draw how many times more agents signals sustain than the timeout, and the analytic line 1 + tau / (c + 2s)."""
    series = result["sweeps"]["series"]["idle_timeout"]
    line = series["analytic_gain"]
    values = [point["value"] for point in line]
    gains = [point["gain"] for point in line]
    axes.plot(values, gains, color="black", linestyle="--", linewidth=0.9, label="1 + τ / (c + 2s)")
    reactive = _agents(series["points"], "reactive")
    for policy in _GAINS:
        agents = _agents(series["points"], policy)
        places = [value for value in agents if reactive[value]]
        colour, _, marker = LOOKS[policy]
        ratios = [agents[value] / reactive[value] for value in places]
        axes.plot(places, ratios, marker, color=colour, label=f"{_label(policy)} / reactive")
    axes.set_ylabel("ratio of agents")
    axes.set_xlabel("idle timeout τ (s)")
    axes.set_title("SIMULATED: gain over a timeout")
    axes.legend()


def draw_swap(axes: Axes, result: dict[str, Any]) -> None:
    """Draw agents over the time of a swap."""
    _draw_agents_over(axes, result, "swap", "swap time over compute time (log)")
    if min(point["value"] for point in result["sweeps"]["series"]["swap"]["points"]) > 0:
        axes.set_xscale("log")
        label_1_2_5(axes.xaxis)


def draw_estimate_error(axes: Axes, result: dict[str, Any]) -> None:
    """Draw agents over the error of the announced waits."""
    _draw_agents_over(axes, result, "estimate_error", "largest relative error of estimates")


def draw_wait(axes: Axes, result: dict[str, Any]) -> None:
    """Draw agents over the mean wait."""
    _draw_agents_over(axes, result, "wait", "mean wait (s)")


def _draw_agents_over(axes: Axes, result: dict[str, Any], name: str, label: str) -> None:
    points = result["sweeps"]["series"][name]["points"]
    for policy in _POLICIES:
        colour, _, marker = LOOKS[policy]
        chosen = [point for point in points if point["policy"] == policy]
        places = [point["value"] for point in chosen]
        axes.plot(
            places,
            [point["agents"] for point in chosen],
            marker=marker,
            color=colour,
            linestyle=":" if policy == "oracle" else "-",
            label=_label(policy),
        )
        lows, highs = ([point[end] for point in chosen] for end in ("agents_low", "agents_high"))
        axes.fill_between(places, lows, highs, color=colour, alpha=0.15, linewidth=0)
    # The legend of all four panels stands above the curves of this one, wherever they run.
    axes.set_ylim(0, (1.45 if name == "swap" else 1.05) * max(point["agents_high"] for point in points))
    axes.set_xlabel(label.removesuffix(" (log)") if min(p["value"] for p in points) == 0 else label)
    axes.set_ylabel("largest number of agents")
    axes.set_title(f"SIMULATED: {result['sweeps']['series'][name]['label']}")
    if name == "swap":
        axes.legend(ncols=3, loc="upper right")


def _scatter(axes: Axes, rows: list[Point], live: str, simulated: str) -> None:
    for policy in _POLICIES[:-1]:
        chosen = [row for row in rows if row["policy"] == policy]
        if chosen:
            colour, _, marker = LOOKS[policy]
            axes.plot(
                [row[live] for row in chosen],
                [row[simulated] for row in chosen],
                marker,
                color=colour,
                fillstyle="none",
                label=_label(policy),
            )
    largest = max((max(row[live], row[simulated]) for row in rows), default=1.0)
    smallest = min((min(row[live], row[simulated]) for row in rows), default=1.0)
    ends = [0.8 * smallest, 1.2 * largest]
    axes.plot(ends, ends, color="black", linewidth=0.7)
    axes.fill_between(ends, [0.9 * end for end in ends], [1.1 * end for end in ends], color="black", alpha=0.08)
    for set_scale, axis in ((axes.set_xscale, axes.xaxis), (axes.set_yscale, axes.yaxis)):
        set_scale("log")
        label_1_2_5(axis)
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.legend(loc="lower right")


def _agents(points: list[Point], policy: str) -> dict[float, float]:
    return {point["value"]: point["agents"] for point in points if point["policy"] == policy}


def _label(policy: str) -> str:
    return _LABELS.get(policy, policy)


def _median(error_pct: float | None) -> str:
    return "" if error_pct is None else f"\nmedian error {error_pct:.1f} %"
