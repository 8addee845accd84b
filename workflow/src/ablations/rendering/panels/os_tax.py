"""Panels of ablation 1: latency natively and through Djinn at four scales, and where the time goes."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from ablations.rendering.formatting import format_quantity
from ablations.rendering.panels.bars import error_pair
from ablations.rendering.style import LOOKS, label_decades, with_minus

_SCALES = {
    "micro_add": "add\n1×1",
    "layer_one_token": "layer\n1 token",
    "transformer_layer": "transformer\nlayer",
    "full_forward": "full\nforward",
}
_ARMS = {"native": "native", "djinn_warm": "warm", "djinn_cold": "cold"}
_PARTS = ("serialize", "dispatch", "compute", "result")
_BAR_WIDTH = 0.26


def draw_latency(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the median latency of each arm at each scale, with the warm overhead above."""
    quantities = result["quantities"]
    for offset, (arm, look) in enumerate(_ARMS.items()):
        colour, hatch, _ = LOOKS[look]
        chosen = [quantities[f"{scale}.{arm}"] for scale in _SCALES]
        places = [number + (offset - 1) * _BAR_WIDTH for number in range(len(_SCALES))]
        label = "native" if arm == "native" else f"Djinn {look}"
        axes.bar(
            places, [q["value"] for q in chosen], _BAR_WIDTH, color=colour, hatch=hatch, edgecolor="white", label=label
        )
        axes.errorbar(
            places, [q["value"] for q in chosen], error_pair(chosen), fmt="none", ecolor="black", elinewidth=0.7
        )
    for number, scale in enumerate(_SCALES):
        highest = max(quantities[f"{scale}.{arm}"]["high"] for arm in _ARMS)
        axes.annotate(
            _overhead(quantities, scale),
            (number, highest),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=6.3,
        )
    axes.set_yscale("log")
    label_decades(axes.yaxis)
    axes.set_ylim(top=80 * max(quantities[f"{scale}.djinn_cold"]["high"] for scale in _SCALES))
    axes.set_xticks(range(len(_SCALES)), _SCALES.values())
    axes.set_ylabel("latency (µs, log)")
    axes.set_title("OS tax")
    axes.legend(ncols=3, loc="upper left", columnspacing=0.9)


def _overhead(quantities: dict[str, Any], scale: str) -> str:
    if scale == "micro_add":
        return f"warm\n+{format_quantity(quantities[f'{scale}.warm_difference']).plain}"
    overhead = quantities[f"{scale}.warm_overhead"]
    sign = "+" if overhead["value"] >= 0 else ""
    return f"warm\n{sign}{with_minus(format_quantity(overhead).plain)}"


def draw_breakdown(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the share of each part in a warm call."""
    quantities = result["quantities"]
    lefts = [0.0] * len(_SCALES)
    totals = [sum(quantities[f"{scale}.warm_{part}"]["value"] for part in _PARTS) for scale in _SCALES]
    for part in _PARTS:
        colour, hatch, _ = LOOKS[part]
        shares = [
            100 * quantities[f"{scale}.warm_{part}"]["value"] / total
            for scale, total in zip(_SCALES, totals, strict=True)
        ]
        axes.barh(
            range(len(_SCALES)),
            shares,
            0.6,
            left=lefts,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=part,
        )
        lefts = [left + share for left, share in zip(lefts, shares, strict=True)]
    axes.set_yticks(range(len(_SCALES)), _SCALES.values())
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of a warm call (%)")
    axes.grid(visible=False)
    axes.set_title("breakdown of a warm call")
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.45, -0.2), columnspacing=0.9)
