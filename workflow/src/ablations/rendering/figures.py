"""The figures by name: which studies each needs and which panels it shows."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from ablations.analysis.reading import read_studies
from ablations.errors import AggregationError, SettingsError
from ablations.rendering.names import EXTRA_FIGURE_STUDIES, FIGURE_STUDIES
from ablations.rendering.panels import os_tax, peers, plan_cache, semantic_signals, session_arena
from ablations.rendering.style import COLUMN_WIDTH_IN, FULL_WIDTH_IN, label_panel, new_figure, save

Draw = Callable[[Axes, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Layout:
    """How one figure shows its studies.

    Attributes:
        draw: for each panel, row by row, the function that draws it.
        size_in: width and height in inches.
        grid: rows and columns.
    """

    draw: tuple[Draw, ...]
    size_in: tuple[float, float]
    grid: tuple[int, int] = (1, 1)


LAYOUTS = {
    "ablation_1_os_tax": Layout((os_tax.draw_latency, os_tax.draw_breakdown), (FULL_WIDTH_IN, 2.5), (1, 2)),
    "ablation_2_arena_latency": Layout(
        (session_arena.draw_by_size, session_arena.draw_by_sessions), (FULL_WIDTH_IN, 2.5), (1, 2)
    ),
    "ablation_3_plan_cache": Layout((plan_cache.draw_tokens,), (COLUMN_WIDTH_IN, 2.5)),
    "ablation_4_semantic_signals": Layout((semantic_signals.draw_agents,), (COLUMN_WIDTH_IN, 2.5)),
    "ablation_cache_histogram": Layout((plan_cache.draw_histogram,), (COLUMN_WIDTH_IN, 2.4)),
    "ablation_signals_cliff": Layout(
        (semantic_signals.draw_cliff, semantic_signals.draw_success), (COLUMN_WIDTH_IN, 4.2), (2, 1)
    ),
    "ablation_signals_timeline": Layout(
        tuple(partial(semantic_signals.draw_timeline, mode) for mode in semantic_signals.MODES),
        (COLUMN_WIDTH_IN, 5.2),
        (5, 1),
    ),
    "ablation_summary": Layout(
        (os_tax.draw_latency, session_arena.draw_by_size, plan_cache.draw_tokens, semantic_signals.draw_agents),
        (FULL_WIDTH_IN, 5.0),
        (2, 2),
    ),
    "peers": Layout((peers.draw_peers,), (COLUMN_WIDTH_IN, 2.7)),
}


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
    layout = LAYOUTS.get(name)
    if layout is None:
        near = difflib.get_close_matches(name, LAYOUTS, n=1)
        raise SettingsError(
            f"Figure {name!r} is unknown; {f'did you mean {near[0]}?' if near else 'choose one of ' + ', '.join(LAYOUTS)}"
        )
    results = read_studies(inputs)
    studies = (FIGURE_STUDIES | EXTRA_FIGURE_STUDIES)[name]
    missing = [study for study in studies if study not in results]
    if missing:
        raise AggregationError(f"Figure {name} needs results of {', '.join(missing)}; aggregate and pass them.")
    rows, columns = layout.grid
    figure, axes = new_figure(*layout.size_in, nrows=rows, ncols=columns, squeeze=False)
    for number, (draw, place) in enumerate(zip(layout.draw, axes.flat, strict=True)):
        # A figure shows one study in all its panels, or one study in each.
        draw(place, results[studies[number if len(studies) > 1 else 0]])
        if len(layout.draw) > 1:
            label_panel(place, "abcdefgh"[number])
    save(figure, output)
