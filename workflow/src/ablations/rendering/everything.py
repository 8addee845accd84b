"""Everything that is judged and rendered from one folder of results, without a workflow engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ablations.errors import RecordError
from ablations.judging.claims import DEFAULT_CLAIMS
from ablations.judging.judge import judge_files
from ablations.rendering.appendix import render_appendix
from ablations.rendering.claims import render_claims_figure, render_claims_table
from ablations.rendering.document import render_document
from ablations.rendering.figures import render_figure
from ablations.rendering.macros import render_macros
from ablations.rendering.names import (
    BESIDE_RESULTS,
    CLAIMS_FIGURE,
    CLAIMS_TABLE,
    FIGURE_STUDIES,
    SIMULATED_STUDY,
    SIMULATION_FIGURES,
    SIMULATION_RESULT,
    SIMULATION_TABLE,
    TABLE_NAMES,
)
from ablations.rendering.simulation import render_simulation_figure
from ablations.rendering.simulation_table import render_simulation_table
from ablations.rendering.tables import render_table
from ablations.settings import STUDIES, repository_root


def result_paths(results_dir: Path) -> dict[str, Path]:
    """Return where each study's result lies."""
    return {study: results_dir / f"ablation_{number}.json" for number, study in enumerate(STUDIES, start=1)}


def render_everything(results_dir: Path, figures_dir: Path) -> Iterator[Path]:
    """Render what the results that exist allow, and yield each file as it is written; the document needs all of them.

    Raises:
        ClaimsError: the claims file asks for what a result does not hold.
        RecordError: no result, a damaged one, or a folder that cannot be written to.
        AggregationError: results that do not belong together.
    """
    inputs = {study: path for study, path in result_paths(results_dir).items() if path.exists()}
    if not inputs:
        raise RecordError(
            f"Folder {results_dir} holds no ablation_1.json to ablation_4.json; measure first or pass --results-dir."
        )
    simulation = results_dir / f"{SIMULATION_RESULT}.json"
    for study, path in inputs.items():
        table = results_dir / f"{TABLE_NAMES[study]}.tex"
        render_table(study, path, table, simulation if study == SIMULATED_STUDY and simulation.exists() else None)
        yield table
    macros = results_dir / "ablation_numbers.tex"
    render_macros(list(inputs.values()), macros)
    yield macros
    for name, studies in FIGURE_STUDIES.items():
        if set(studies) <= set(inputs):
            output = (results_dir if name in BESIDE_RESULTS else figures_dir) / f"{name}.pdf"
            render_figure(name, [inputs[study] for study in studies], output)
            yield output
    verdicts = results_dir / "claims.json"
    judge_files(repository_root() / DEFAULT_CLAIMS, list(inputs.values()), verdicts)
    yield verdicts
    for render, output in (
        (render_claims_table, results_dir / f"{CLAIMS_TABLE}.tex"),
        (render_claims_figure, figures_dir / f"{CLAIMS_FIGURE}.pdf"),
    ):
        render(verdicts, output)
        yield output
    yield from _render_simulation(results_dir)
    if len(inputs) == len(STUDIES):
        document, appendix = figures_dir / "ablation_summary.tex", figures_dir / "artifact_appendix.tex"
        render_document(list(inputs.values()), results_dir, document, verdicts)
        yield document
        render_appendix(list(inputs.values()), verdicts, appendix)
        yield appendix


def _render_simulation(results_dir: Path) -> Iterator[Path]:
    source = results_dir / f"{SIMULATION_RESULT}.json"
    if not source.exists():
        return
    table = results_dir / f"{SIMULATION_TABLE}.tex"
    render_simulation_table(source, table)
    yield table
    for name in SIMULATION_FIGURES:
        output = results_dir / f"{name}.pdf"
        render_simulation_figure(name, source, output)
        yield output
