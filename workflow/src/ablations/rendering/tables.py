"""The LaTeX table of each study."""

from __future__ import annotations

from pathlib import Path

from ablations.analysis.reading import read_aggregated
from ablations.errors import AggregationError
from ablations.rendering.latex import render_template
from ablations.rendering.names import EXTRA_TABLE_NAMES, TABLE_NAMES
from ablations.rendering.simulated import read_simulation
from ablations.whole_files import write_text


def render_table(study: str, aggregated: Path, output: Path, simulation: Path | None = None) -> None:
    """Render one study's table.

    Args:
        study: of the table.
        aggregated: its result.
        output: the table.
        simulation: the simulation's result, which knows what the table compares with; without it, dashes stand there.

    Raises:
        AggregationError: the result is of another study.
        RecordError: an input that cannot be used, or an output that cannot be written.
    """
    result = read_aggregated(aggregated)
    if result["study"] != study:
        raise AggregationError(f"Result {aggregated} is of study {result['study']}, not {study}; pass the other file.")
    write_text(
        output,
        render_template(
            f"{(TABLE_NAMES | EXTRA_TABLE_NAMES)[study]}.tex.j2",
            result=result,
            q=result["quantities"],
            study=result["settings"]["study"],
            simulated=None if simulation is None else read_simulation(simulation),
        ),
    )
