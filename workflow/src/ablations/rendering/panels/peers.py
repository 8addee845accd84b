"""Panel of the peers: latency of four operations through each of them."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from ablations.rendering.panels.bars import error_pair
from ablations.rendering.style import LOOKS, label_decades

_SCALES = {
    "micro_add": "add\n1×1",
    "layer_one_token": "layer\n1 token",
    "transformer_layer": "transformer\nlayer",
    "full_forward": "full\nforward",
}
_ARMS = {"native": "native", "compiled": "torch.compile", "djinn": "Djinn", "rpc": "torch RPC", "ray": "Ray actor"}
_BAR_WIDTH = 0.16


def draw_peers(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the median latency of each arm at each scale."""
    quantities = result["quantities"]
    for number, (arm, label) in enumerate(_ARMS.items()):
        colour, hatch, _ = LOOKS[arm]
        chosen = [quantities[f"{scale}.{arm}"] for scale in _SCALES]
        places = [place + (number - 2) * _BAR_WIDTH for place in range(len(_SCALES))]
        values = [quantity["value"] for quantity in chosen]
        axes.bar(places, values, _BAR_WIDTH, color=colour, hatch=hatch, edgecolor="white", label=label)
        axes.errorbar(places, values, error_pair(chosen), fmt="none", ecolor="black", elinewidth=0.7)
    axes.set_yscale("log")
    label_decades(axes.yaxis)
    axes.set_ylim(top=30 * max(quantities[f"full_forward.{arm}"]["high"] for arm in _ARMS))
    axes.set_xticks(range(len(_SCALES)), _SCALES.values())
    axes.set_ylabel("host to host (µs, log)")
    axes.set_title("Djinn and its peers")
    axes.legend(ncols=3, loc="upper left", columnspacing=0.9)
