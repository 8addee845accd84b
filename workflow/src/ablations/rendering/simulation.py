"""The figures of the simulation; each says that what it shows is simulated."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from ablations.errors import SettingsError
from ablations.rendering.panels import simulation as panels
from ablations.rendering.simulated import read_simulation
from ablations.rendering.style import FULL_WIDTH_IN, label_panel, new_figure, save

Draw = Callable[[Axes, dict[str, Any]], None]

# For each figure its height in inches, rows, columns, and its panels row by row.
SIMULATION_LAYOUTS: dict[str, tuple[float, int, int, tuple[Draw, ...]]] = {
    "ablation_signals_validation": (3.1, 1, 2, (panels.draw_agents, panels.draw_latencies)),
    "ablation_signals_sweeps": (
        5.0,
        2,
        2,
        (panels.draw_idle_timeout, panels.draw_swap, panels.draw_estimate_error, panels.draw_wait),
    ),
}


def render_simulation_figure(name: str, source: Path, output: Path) -> None:
    """Draw one figure of the simulation as PDF and PNG.

    Args:
        name: of the figure.
        source: the simulation's result.
        output: the PDF; the PNG is written beside it.

    Raises:
        SettingsError: there is no such figure.
        RecordError: an input that cannot be used, or an output that cannot be written.
    """
    layout = SIMULATION_LAYOUTS.get(name)
    if layout is None:
        near = difflib.get_close_matches(name, SIMULATION_LAYOUTS, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(SIMULATION_LAYOUTS)}."
        raise SettingsError(f"Figure {name!r} is none of the simulation; {remedy}")
    height_in, rows, columns, draws = layout
    result = read_simulation(source)
    figure, axes = new_figure(FULL_WIDTH_IN, height_in, nrows=rows, ncols=columns, squeeze=False)
    for letter, draw, place in zip("abcd", draws, axes.flat, strict=False):
        draw(place, result)
        label_panel(place, letter)
    save(figure, output)
