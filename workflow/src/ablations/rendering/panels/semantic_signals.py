"""Panels of ablation 4: agents alive at once in each mode, every probe of the search, and memory over time."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ablations.rendering.formatting import format_quantity
from ablations.rendering.panels.bars import error_pair
from ablations.rendering.style import LOOKS, label_1_2_5

MODES = ("none", "reactive", "lru", "proactive", "proactive_plus")
NAMES = {
    "none": "none",
    "reactive": "reactive",
    "lru": "LRU",
    "proactive": "proactive",
    "proactive_plus": "proactive+",
}
_OUTCOMES = {
    "success": "objective met",
    "latency": "p99 over objective",
    "out_of_memory": "out of memory",
    "timeout": "not finished",
}
_MIB = 2**20


def draw_agents(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the agents that each mode sustains, and the analytic bound."""
    quantities = result["quantities"]
    for place, mode in enumerate(MODES):
        colour, hatch, _ = LOOKS[mode]
        agents, bound = quantities[f"agents.{mode}"], quantities[f"bound.{mode}"]
        axes.bar(place, agents["value"], 0.6, color=colour, hatch=hatch, edgecolor="white")
        axes.errorbar(place, agents["value"], error_pair([agents]), fmt="none", ecolor="black", elinewidth=0.7)
        axes.hlines(bound["value"], place - 0.36, place + 0.36, color="black", linestyle="--", linewidth=0.9)
    gain = quantities["gain.proactive_over_reactive"]
    if gain is not None:
        number = format_quantity(gain)
        text = (
            f"proactive / reactive: {number.plain} {number.interval}\n"
            f"expected, 1 + τ/(c + 2s): {format_quantity(quantities['gain.expected']).plain}"
        )
        axes.annotate(text, (0.03, 0.97), xycoords="axes fraction", ha="left", va="top", fontsize=6.5)
    tallest = max(quantities[f"{name}.{mode}"]["high"] for name in ("agents", "bound") for mode in MODES)
    axes.set_ylim(0, 1.45 * tallest)
    # Under the bars: above them a number would read as the bound's.
    values = [format_quantity(quantities[f"agents.{mode}"]).value for mode in MODES]
    axes.set_xticks(
        range(len(MODES)), [f"{NAMES[mode]}\n{value}" for mode, value in zip(MODES, values, strict=True)], fontsize=6.5
    )
    axes.set_ylabel("agents alive at once")
    axes.set_title("semantic signals")
    axes.legend(
        handles=[Line2D([], [], color="black", linestyle="--", linewidth=0.9, label="analytic\nbound")],
        loc="center left",
        bbox_to_anchor=(0.0, 0.62),
    )


def draw_cliff(axes: Axes, result: dict[str, Any]) -> None:
    """Draw every probe: its number of agents, its p99 latency, its mode and how it ended."""
    objective_ms = 1e3 * result["settings"]["study"]["latency_objective_s"]
    axes.axhline(objective_ms, color="black", linestyle="--", linewidth=0.8)
    axes.annotate(
        f"objective {objective_ms:.0f} ms",
        (0, objective_ms),
        (3, 2),
        textcoords="offset points",
        xycoords=("axes fraction", "data"),
        fontsize=6.3,
    )
    # Nobody's latency is known in a crowd that ran out of memory before it was complete; it stands at the foot.
    floor_ms = 0.5 * min(probe["p99_ms"] for probe in result["series"]["probes"] if probe["p99_ms"] > 0)
    for probe in result["series"]["probes"]:
        colour, _, marker = LOOKS[probe["mode"]]
        fill = "full" if probe["outcome"] == "success" else "none"
        height_ms = probe["p99_ms"] or floor_ms
        axes.plot(probe["num_agents"], height_ms, marker, color=colour, fillstyle=fill, alpha=0.8)
        if probe["outcome"] == "out_of_memory":
            axes.plot(probe["num_agents"], height_ms, "x", color="black", markersize=3)
    axes.set_yscale("log")
    label_1_2_5(axes.yaxis)
    axes.set_xscale("log", base=2)
    ticks = _ticks([probe["num_agents"] for probe in result["series"]["probes"]])
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_ylabel("p99 request latency (ms, log)")
    axes.set_title("every probe")


def draw_success(axes: Axes, result: dict[str, Any]) -> None:
    """Draw how many of the probes of each number met the objective, with exact binomial intervals."""
    for mode in MODES:
        colour, _, marker = LOOKS[mode]
        points = result["series"]["success"][mode]
        numbers = [point["num_agents"] for point in points]
        shares = [point["successes"] / point["num_probes"] for point in points]
        below = [share - point["low"] for share, point in zip(shares, points, strict=True)]
        above = [point["high"] - share for share, point in zip(shares, points, strict=True)]
        axes.errorbar(numbers, shares, (below, above), fmt="none", ecolor=colour, elinewidth=0.6, alpha=0.35, capsize=0)
        axes.plot(numbers, shares, marker=marker, color=colour, linestyle="-", linewidth=0.8, markersize=3)
    axes.set_xscale("log", base=2)
    ticks = _ticks([probe["num_agents"] for probe in result["series"]["probes"]])
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_ylim(-0.05, 1.08)
    axes.set_xlabel("agents alive at once (log)")
    axes.set_ylabel("probes that met it (share)")
    axes.set_title("objective met")
    axes.legend(handles=_legend(result), loc="upper center", bbox_to_anchor=(0.45, -0.32), ncols=3, columnspacing=0.9)


def draw_timeline(mode: str, axes: Axes, result: dict[str, Any]) -> None:
    """Draw the memory that sessions take over time, on the device and on the host, with the same crowd in every mode."""
    study = result["settings"]["study"]
    timeline = result["series"]["timelines"][mode]
    times_s = [moment["at_s"] for moment in timeline]
    for name, colour, label in (
        ("resident_bytes", LOOKS[mode][0], "device"),
        ("host_pool_bytes", "black", "host"),
    ):
        held_mib = [moment[name] / _MIB for moment in timeline]
        line = "-" if label == "device" else ":"
        axes.plot(times_s, held_mib, line, color=colour, linewidth=0.9, drawstyle="steps-post", label=label)
    budget_mib = study["slots"] * study["arena_mb"]
    axes.axhline(budget_mib, color="black", linestyle="--", linewidth=0.6)
    axes.set_xlim(0, max(result["series"]["timelines"][m][-1]["at_s"] for m in MODES if _has_moments(result, m)))
    axes.set_ylim(0, 1.3 * budget_mib)
    axes.set_ylabel("MiB")
    is_first, is_last = mode == MODES[0], mode == MODES[-1]
    crowd = f", {study['common_agents']} agents"
    axes.set_title(NAMES[mode] + (crowd if is_first else ""), fontsize=7)
    if is_last:
        axes.set_xlabel("time (s); solid: device, dashed: its size, dotted: host pool")
    else:
        axes.tick_params(labelbottom=False)


def _has_moments(result: dict[str, Any], mode: str) -> bool:
    return bool(result["series"]["timelines"][mode])


def _ticks(numbers: list[int]) -> list[int]:
    tick, ticks = 1, []
    while tick < 2 * max(numbers):
        if 2 * tick > min(numbers):
            ticks.append(tick)
        tick *= 2
    return ticks


def _legend(result: dict[str, Any]) -> list[Line2D]:
    modes = [Line2D([], [], color=LOOKS[m][0], marker=LOOKS[m][2], linestyle="", label=NAMES[m]) for m in MODES]
    seen = {probe["outcome"] for probe in result["series"]["probes"]}
    outcomes = [
        Line2D(
            [],
            [],
            color="black",
            marker="x" if name == "out_of_memory" else "o",
            fillstyle="full" if name == "success" else "none",
            linestyle="",
            label=label,
        )
        for name, label in _OUTCOMES.items()
        if name in seen
    ]
    return [*modes, *outcomes]
