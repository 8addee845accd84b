"""Panels of ablation 3: a token's latency cold, warm, without the cache, and natively."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ablations.rendering.formatting import format_quantity
from ablations.rendering.panels.bars import error_pair
from ablations.rendering.style import LOOKS, label_1_2_5

_ARMS = {"native": "native", "warm": "warm\n(hit)", "cache_off": "cache\noff", "cold": "cold\n(miss)"}
_NUM_BINS = 60


def draw_tokens(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the median time of a token in each arm, and what caching gains."""
    quantities = result["quantities"]
    for place, arm in enumerate(_ARMS):
        colour, hatch, _ = LOOKS[arm]
        token = _in_ms(quantities[f"token.{arm}"])
        axes.bar(place, token["value"], 0.62, color=colour, hatch=hatch, edgecolor="white")
        axes.errorbar(place, token["value"], error_pair([token]), fmt="none", ecolor="black", elinewidth=0.7)
        text = format_quantity(quantities[f"token.{arm}"]).plain
        axes.annotate(text, (place, token["high"]), (0, 3), textcoords="offset points", ha="center", fontsize=6.5)
    gains = [format_quantity(quantities[name]).plain for name in ("token_speedup", "dispatch_speedup")]
    axes.annotate(
        f"cold / warm: token {gains[0]}, dispatch {gains[1]}",
        (0.02, 0.97),
        xycoords="axes fraction",
        va="top",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
    axes.set_yscale("log")
    label_1_2_5(axes.yaxis)
    axes.set_ylim(top=4 * quantities["token.cold"]["high"] / 1e3)
    axes.set_xticks(range(len(_ARMS)), _ARMS.values())
    axes.set_ylabel("time per token (ms, log)")
    axes.set_title("plan cache")


def draw_histogram(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the distribution of token times in each arm, as shares, over logarithmic bins."""
    tokens = {arm: np.array(result["series"]["token_us"][arm]) / 1e3 for arm in _ARMS}
    everything = np.concatenate(list(tokens.values()))
    bins = np.geomspace(everything.min(), everything.max(), _NUM_BINS).tolist()
    for arm, values in tokens.items():
        colour, _, _ = LOOKS[arm]
        weights = np.full(len(values), 100 / len(values))
        label = f"{_ARMS[arm].replace(chr(10), ' ')}, n={len(values):,}"
        axes.hist(values, bins=bins, weights=weights, histtype="stepfilled", color=colour, alpha=0.55)
        axes.hist(
            values,
            bins=bins,
            weights=weights,
            histtype="step",
            color=colour,
            linestyle=_line(arm),
            linewidth=1.1,
            label=label,
        )
    axes.set_xscale("log")
    label_1_2_5(axes.xaxis)
    axes.set_xlabel("time per token (ms, log)")
    axes.set_ylabel("tokens of each arm (%)")
    axes.set_title("every token of the decode loop")
    # Room above the tallest bar, since the arms lie anywhere.
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])
    axes.legend(ncols=2, loc="upper center")


def _line(arm: str) -> str:
    return {"native": ":", "warm": "-", "cache_off": "--", "cold": "-."}[arm]


def _in_ms(quantity: dict[str, Any]) -> dict[str, float]:
    return {name: quantity[name] / 1e3 for name in ("value", "low", "high")}
