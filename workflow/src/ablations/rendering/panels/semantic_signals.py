"""Panels of ablation 4: agents alive at once in each mode, and every probe of the search for that number."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ablations.rendering.formatting import format_quantity
from ablations.rendering.panels.bars import error_pair
from ablations.rendering.style import LOOKS

_MODES = ("proactive", "reactive", "none")
_OUTCOMES = {
    "success": "objective met",
    "latency": "p99 over objective",
    "out_of_memory": "out of memory",
    "timeout": "not finished",
}


def draw_agents(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the agents that each mode sustains, and what was predicted without queueing."""
    quantities = result["quantities"]
    for place, mode in enumerate(_MODES):
        colour, hatch, _ = LOOKS[mode]
        agents, prediction = quantities[f"agents.{mode}"], quantities[f"prediction.{mode}"]
        axes.bar(place, agents["value"], 0.6, color=colour, hatch=hatch, edgecolor="white")
        axes.errorbar(place, agents["value"], error_pair([agents]), fmt="none", ecolor="black", elinewidth=0.7)
        axes.hlines(prediction["value"], place - 0.36, place + 0.36, color="black", linestyle="--", linewidth=0.9)
        text = f"{format_quantity(agents).value}\n{_p99(quantities[f'p99.{mode}'])}"
        top = max(agents["high"], prediction["value"])
        axes.annotate(text, (place, top), (0, 3), textcoords="offset points", ha="center", fontsize=6.5)
    gain = quantities["gain.proactive_over_reactive"]
    if gain is not None:
        text = f"proactive / reactive: {format_quantity(gain).plain} {format_quantity(gain).interval}"
        axes.annotate(text, (0.98, 0.97), xycoords="axes fraction", ha="right", va="top")
    tallest = max(quantities[f"{name}.{mode}"]["high"] for name in ("agents", "prediction") for mode in _MODES)
    axes.set_ylim(0, 1.45 * tallest)
    axes.set_xticks(range(len(_MODES)), _MODES)
    axes.set_ylabel("agents alive at once")
    axes.set_title("semantic signals")
    axes.legend(
        handles=[Line2D([], [], color="black", linestyle="--", linewidth=0.9, label="prediction\nwithout queueing")],
        loc="center right",
    )


def _p99(quantity: dict[str, Any] | None) -> str:
    return "" if quantity is None else f"p99 {format_quantity(quantity).plain}"


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
    for probe in result["series"]["probes"]:
        colour, _, marker = LOOKS[probe["mode"]]
        is_success = probe["outcome"] == "success"
        axes.plot(
            probe["num_agents"],
            max(probe["p99_ms"], 1.0),
            marker,
            color=colour,
            fillstyle="full" if is_success else "none",
        )
        if probe["outcome"] == "out_of_memory":
            axes.plot(probe["num_agents"], max(probe["p99_ms"], 1.0), "x", color="black", markersize=3)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = _ticks([probe["num_agents"] for probe in result["series"]["probes"]])
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel("agents alive at once (log)")
    axes.set_ylabel("p99 request latency (ms, log)")
    axes.set_title("every probe")
    axes.legend(handles=_legend(result), loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=3, columnspacing=0.9)


def _ticks(numbers: list[int]) -> list[int]:
    tick, ticks = 1, []
    while tick < 2 * max(numbers):
        if 2 * tick > min(numbers):
            ticks.append(tick)
        tick *= 2
    return ticks


def _legend(result: dict[str, Any]) -> list[Line2D]:
    modes = [Line2D([], [], color=LOOKS[m][0], marker=LOOKS[m][2], linestyle="", label=m) for m in _MODES]
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
