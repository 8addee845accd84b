"""What is rendered and from what, without importing what renders it: the workflow reads this at every parse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ablations.settings import ON_DEMAND, VARIANTS

# The file of each study's table, without its suffix; its template has the same name.
TABLE_NAMES = {
    "os_tax": "ablation_os_tax_table",
    "session_arena": "ablation_arena_table",
    "plan_cache": "ablation_cache_table",
    "semantic_signals": "ablation_signals_table",
}

# What is rendered on demand alone.
EXTRA_TABLE_NAMES = {"peers": "peers_table"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one figure shows, and how.

    Attributes:
        studies: whose results it shows: one in all panels, or one in each.
        panels: row by row, each as module.function of `ablations.rendering.panels`, or module.function:argument.
        width: of a column or of the full page.
        height_in: in inches.
        grid: rows and columns.
        is_beside_results: it lies beside the results instead of among the figures.
    """

    studies: tuple[str, ...]
    panels: tuple[str, ...]
    width: Literal["column", "full"] = "column"
    height_in: float = 2.5
    grid: tuple[int, int] = (1, 1)
    is_beside_results: bool = False


FIGURES = {
    "ablation_1_os_tax": Figure(
        studies=("os_tax",), panels=("os_tax.draw_latency", "os_tax.draw_breakdown"), width="full", grid=(1, 2)
    ),
    "ablation_2_arena_latency": Figure(
        studies=("session_arena",),
        panels=("session_arena.draw_by_size", "session_arena.draw_by_sessions"),
        width="full",
        grid=(1, 2),
    ),
    "ablation_3_plan_cache": Figure(studies=("plan_cache",), panels=("plan_cache.draw_tokens",)),
    "ablation_4_semantic_signals": Figure(studies=("semantic_signals",), panels=("semantic_signals.draw_agents",)),
    "ablation_cache_histogram": Figure(
        studies=("plan_cache",), panels=("plan_cache.draw_histogram",), height_in=2.4, is_beside_results=True
    ),
    "ablation_signals_cliff": Figure(
        studies=("semantic_signals",),
        panels=("semantic_signals.draw_cliff", "semantic_signals.draw_success"),
        height_in=4.2,
        grid=(2, 1),
        is_beside_results=True,
    ),
    "ablation_signals_timeline": Figure(
        studies=("semantic_signals",),
        panels=tuple(f"semantic_signals.draw_timeline:{mode}" for mode in VARIANTS["semantic_signals"]),
        height_in=5.2,
        grid=(5, 1),
        is_beside_results=True,
    ),
    "ablation_summary": Figure(
        studies=("os_tax", "session_arena", "plan_cache", "semantic_signals"),
        panels=(
            "os_tax.draw_latency",
            "session_arena.draw_by_size",
            "plan_cache.draw_tokens",
            "semantic_signals.draw_agents",
        ),
        width="full",
        height_in=5.0,
        grid=(2, 2),
    ),
    "peers": Figure(studies=("peers",), panels=("peers.draw_peers",), height_in=2.7),
}

# The studies whose results each figure shows, and apart what is drawn on demand alone.
FIGURE_STUDIES = {name: figure.studies for name, figure in FIGURES.items() if name not in ON_DEMAND}
EXTRA_FIGURE_STUDIES = {name: figure.studies for name, figure in FIGURES.items() if name in ON_DEMAND}
# Those that lie beside the results instead of among the figures.
BESIDE_RESULTS = tuple(name for name, figure in FIGURES.items() if figure.is_beside_results)


def panel_modules(*figures: str) -> list[str]:
    """Return the modules that draw these figures' panels."""
    panels = [panel for figure in figures for panel in FIGURES[figure].panels]
    return sorted({f"ablations.rendering.panels.{panel.partition('.')[0]}" for panel in panels})


def _drawn_together() -> dict[str, tuple[str, ...]]:
    """Group the workflow's figures by what they are drawn from: no change reaches one of a group without the others."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, studies in FIGURE_STUDIES.items():
        groups.setdefault((studies, *panel_modules(name)), []).append(name)
    return {names[0]: tuple(names) for names in groups.values()}


# The figures that one process draws, by the name of the first: loading what draws takes longer than drawing.
FIGURE_GROUPS = _drawn_together()

# What shows the simulation in virtual time, all of it beside the results.
SIMULATED_STUDY = "semantic_signals"
SIMULATION_RESULT = "signals_simulation"
# Its part that depends on no trial.
SIMULATION_SWEEPS = "signals_sweeps"
SIMULATION_FIGURES = ("ablation_signals_validation", "ablation_signals_sweeps")
SIMULATION_TABLE = "ablation_signals_simulation_table"

# The table and the figure of the verdicts, which are read from claims.json.
CLAIMS_TABLE = "claims_table"
CLAIMS_FIGURE = "claims"
