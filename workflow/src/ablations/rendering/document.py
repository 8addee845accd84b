"""The LaTeX document that shows all tables and figures, with every number taken from a macro."""

from __future__ import annotations

import os
from pathlib import Path

from ablations.analysis.reading import read_studies
from ablations.errors import AggregationError
from ablations.records import write_text
from ablations.rendering.latex import render_template
from ablations.rendering.macros import macro_name
from ablations.settings import STUDIES


def render_document(inputs: list[Path], results_dir: Path, output: Path) -> None:
    """Write the document; it includes its parts by paths relative to its own folder.

    Args:
        inputs: the aggregated results of all four studies.
        results_dir: the folder of tables, macros and the figures that lie beside the results.
        output: the document; the other figures lie beside it.

    Raises:
        AggregationError: a study is missing.
        RecordError: an input that cannot be used, or an output that cannot be written.
    """
    results = read_studies(inputs)
    missing = [study for study in STUDIES if study not in results]
    if missing:
        raise AggregationError(f"The document needs results of {', '.join(missing)}; aggregate and pass them.")
    text = render_template(
        "ablation_summary.tex.j2",
        results=results,
        results_dir=Path(os.path.relpath(results_dir, output.parent)).as_posix(),
        # The braces keep the space after the macro.
        macro=lambda study, name: f"\\{macro_name(study, name)}{{}}",
        environment=results["os_tax"]["environment"],
        tier=results["os_tax"]["tier"],
    )
    write_text(output, text)
