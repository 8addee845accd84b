"""Draws the figures by name, from the results that each needs."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from ablations.analysis.reading import read_studies
from ablations.errors import AggregationError, SettingsError
from ablations.rendering.names import FIGURES
from ablations.rendering.style import COLUMN_WIDTH_IN, FULL_WIDTH_IN, label_panel, new_figure, save

Draw = Callable[[Axes, dict[str, Any]], None]

_WIDTHS_IN = {"column": COLUMN_WIDTH_IN, "full": FULL_WIDTH_IN}


def render_figure(name: str, inputs: list[Path], output: Path) -> None:
    """Draw one figure as PDF and PNG.

    Args:
        name: of the figure.
        inputs: aggregated results, at least those that the figure needs.
        output: the PDF; the PNG is written beside it.

    Raises:
        SettingsError: there is no such figure.
        AggregationError: a study that the figure needs is not among the inputs.
        RecordError: an input that cannot be used, or an output that cannot be written.
    """
    shown = FIGURES.get(name)
    if shown is None:
        near = difflib.get_close_matches(name, FIGURES, n=1)
        raise SettingsError(
            f"Figure {name!r} is unknown; {f'did you mean {near[0]}?' if near else 'choose one of ' + ', '.join(FIGURES)}"
        )
    results = read_studies(inputs)
    missing = [study for study in shown.studies if study not in results]
    if missing:
        raise AggregationError(f"Figure {name} needs results of {', '.join(missing)}; aggregate and pass them.")
    rows, columns = shown.grid
    figure, axes = new_figure(_WIDTHS_IN[shown.width], shown.height_in, nrows=rows, ncols=columns, squeeze=False)
    for number, (panel, place) in enumerate(zip(shown.panels, axes.flat, strict=True)):
        find_panel(panel)(place, results[shown.studies[number if len(shown.studies) > 1 else 0]])
        if len(shown.panels) > 1:
            label_panel(place, "abcdefgh"[number])
    save(figure, output)


def find_panel(panel: str) -> Draw:
    """Return the function that draws a panel, from its name in `FIGURES`."""
    place, _, argument = panel.partition(":")
    module, _, function = place.partition(".")
    draw: Callable[..., None] = getattr(import_module(f"ablations.rendering.panels.{module}"), function)
    return partial(draw, argument) if argument else draw
