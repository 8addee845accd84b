"""Panels of ablation 2: cost of an arena by its size and by the number of live sessions."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from ablations.rendering.formatting import format_quantity
from ablations.rendering.panels.bars import error_pair
from ablations.rendering.style import LOOKS, label_decades, with_minus

_LINES = {
    "commit": ("commit (all pages)", "cold", "-"),
    "release_committed": ("release, committed", "cache_off", "-"),
    "reserve_p99": ("reserve, p99", "warm", ":"),
    "reserve": ("reserve, median", "warm", "-"),
}


def draw_by_size(axes: Axes, result: dict[str, Any]) -> None:
    """Draw reserving, committing and releasing over the arena's size."""
    sizes = result["series"]["sizes_mb"]
    for name, (label, look, line) in _LINES.items():
        colour, _, marker = LOOKS[look]
        chosen = [result["quantities"][f"{name}.{size}"] for size in sizes]
        values = [q["value"] for q in chosen]
        axes.errorbar(
            sizes, values, error_pair(chosen), color=colour, marker=marker, linestyle=line, label=label, elinewidth=0.7
        )
    axes.set_yscale("log")
    label_decades(axes.yaxis)
    # The legend stands above the lines, which lie apart on one machine and close together on another.
    highest = max(result["quantities"][f"{name}.{size}"]["high"] for name in _LINES for size in sizes)
    axes.set_ylim(0.5, 40 * highest)
    axes.set_xticks(sizes)
    axes.set_xlim(left=0)
    axes.set_xlabel("arena size (MB)")
    axes.set_ylabel("time (µs, log)")
    axes.set_title("session arena")
    axes.legend(ncols=2, loc="upper left", columnspacing=0.7, handlelength=1.3)


def draw_by_sessions(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the median reservation over the number of live sessions, one line for each invocation."""
    for pairs in result["series"]["by_live_sessions"]:
        axes.plot(
            [count for count, _ in pairs],
            [value for _, value in pairs],
            color=LOOKS["warm"][0],
            alpha=0.6,
            linewidth=0.8,
        )
    slope = format_quantity(result["quantities"]["slope_over_sessions"])
    axes.annotate(
        with_minus(f"slope {slope.value} {slope.interval}\nns per 1000 live sessions"),
        (0.97, 0.93),
        xycoords="axes fraction",
        ha="right",
        va="top",
    )
    axes.set_ylim(bottom=0, top=2 * max(value for pairs in result["series"]["by_live_sessions"] for _, value in pairs))
    axes.set_xlabel("live sessions")
    axes.set_ylabel("reserve, median (µs)")
    axes.set_title("growth with sessions")
