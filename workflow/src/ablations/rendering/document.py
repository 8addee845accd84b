"""The LaTeX document that shows verdicts, tables and figures, with every number taken from a macro or a table."""

from __future__ import annotations

import os
from pathlib import Path

from ablations.analysis.reading import read_studies
from ablations.errors import AggregationError
from ablations.rendering.captions import figure_caption
from ablations.rendering.latex import render_template
from ablations.rendering.macros import macro_name
from ablations.rendering.names import BESIDE_RESULTS, FIGURE_STUDIES, TABLE_NAMES
from ablations.rendering.shown_verdicts import ShownVerdict, by_grade, read_verdicts
from ablations.settings import STUDIES
from ablations.whole_files import write_text


def render_document(inputs: list[Path], results_dir: Path, output: Path, claims: Path | None = None) -> None:
    """Write the document; it includes its parts by paths relative to its own folder.

    Args:
        inputs: the aggregated results of all studies.
        results_dir: the folder of tables, macros and the figures that lie beside the results.
        output: the document; the other figures lie beside it.
        claims: the verdicts; without them the document shows measurements only.

    Raises:
        AggregationError: a study is missing.
        RecordError: an input that cannot be used, or an output that cannot be written.
    """
    results = read_studies(inputs)
    missing = [study for study in STUDIES if study not in results]
    if missing:
        raise AggregationError(f"The document needs results of {', '.join(missing)}; aggregate and pass them.")
    relative_dir = Path(os.path.relpath(results_dir, output.parent)).as_posix()
    verdicts: list[ShownVerdict] = [] if claims is None else read_verdicts(claims)
    text = render_template(
        "ablation_summary.tex.j2",
        results=results,
        results_dir=relative_dir,
        # The braces keep the space after the macro.
        macro=lambda study, name: f"\\{macro_name(study, name)}{{}}",
        environment=results[STUDIES[0]]["environment"],
        tier=results[STUDIES[0]]["tier"],
        tables=TABLE_NAMES,
        figures_of=_own_figures,
        figure_path=lambda name: f"{relative_dir}/{name}.pdf" if name in BESIDE_RESULTS else f"{name}.pdf",
        caption=figure_caption,
        measured_s=lambda study: sum(trial["duration_s"] for trial in results[study]["trials"]),
        verdicts=verdicts,
        grades=by_grade(verdicts),
        grades_of=lambda study: by_grade([verdict for verdict in verdicts if verdict.study == study]),
    )
    write_text(output, text)


def _own_figures(study: str) -> list[str]:
    """Return the figures that show this study alone."""
    return [name for name, studies in FIGURE_STUDIES.items() if studies == (study,)]
