"""The LaTeX table of the simulation, which says that it is simulated; apart from the figures, whose packages it does not need."""

from __future__ import annotations

from pathlib import Path

from ablations.rendering.latex import render_template
from ablations.rendering.names import SIMULATION_TABLE
from ablations.rendering.simulated import read_simulation
from ablations.whole_files import write_text


def render_simulation_table(source: Path, output: Path) -> None:
    """Render the table of the paper's configuration.

    Raises:
        RecordError: an input that cannot be used, or an output that cannot be written.
    """
    result = read_simulation(source)
    settings = result["settings"]["simulation"]
    write_text(
        output,
        render_template(
            f"{SIMULATION_TABLE}.tex.j2",
            result=result,
            paper=result["paper"],
            device=settings["paper"],
            num_seeds=settings["num_seeds"],
            resolution=settings["resolution"],
        ),
    )
