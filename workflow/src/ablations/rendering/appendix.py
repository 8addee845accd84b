"""The artifact appendix in the form that EuroSys and SOSP ask for, from the claims, the results and the pins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.analysis.reading import read_studies
from ablations.errors import AggregationError
from ablations.rendering.latex import render_template
from ablations.rendering.names import BESIDE_RESULTS, FIGURE_STUDIES, TABLE_NAMES
from ablations.rendering.shown_verdicts import ShownVerdict, read_verdicts
from ablations.settings import DEFAULT_TIER, STUDIES, output_dir, repository_root
from ablations.whole_files import write_text

# For one who types a command and compares a table with the claims; nothing else is done by hand.
_HUMAN_MINUTES = 2


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment of the appendix.

    Attributes:
        label: E1, E2, ...
        study: that it runs.
        human_minutes, compute_minutes: that it takes; computing by what the trials took, rounded up.
        num_trials: processes that it measures.
        targets: files to ask for; the last one is a table.
        verdicts: of the claims that it supports.
    """

    label: str
    study: str
    human_minutes: int
    compute_minutes: int
    num_trials: int
    targets: list[str]
    verdicts: list[ShownVerdict]


def render_appendix(inputs: list[Path], claims: Path, output: Path) -> None:
    """Write the appendix.

    Args:
        inputs: the aggregated results of all studies.
        claims: the verdicts.
        output: the document.

    Raises:
        AggregationError: results that do not belong together, or one of no ablation.
        RecordError: an input that cannot be used, or an output that cannot be written.
    """
    results = read_studies(inputs)
    strangers = [study for study in results if study not in STUDIES]
    if strangers:
        raise AggregationError(
            f"The appendix is of the ablations, not of {', '.join(strangers)}; leave that result out."
        )
    verdicts = read_verdicts(claims)
    first = next(iter(results.values()))
    text = render_template(
        "artifact_appendix.tex.j2",
        verdicts=verdicts,
        experiments=[_experiment(result, verdicts) for result in results.values()],
        environment=first["environment"],
        tier=first["tier"],
        configfile="" if first["tier"] == DEFAULT_TIER else f" --configfile config/{first['tier']}.yaml",
        pins=_pins(),
        figures_dir=output_dir("figures", first["tier"]),
        results_dir=output_dir("results", first["tier"]),
    )
    write_text(output, text)


def _experiment(result: dict[str, Any], verdicts: list[ShownVerdict]) -> Experiment:
    study, tier = result["study"], result["tier"]
    figures = [name for name, studies in FIGURE_STUDIES.items() if studies == (study,)]
    folders = {name: output_dir("results" if name in BESIDE_RESULTS else "figures", tier) for name in figures}
    return Experiment(
        label=f"E{result['ablation']}",
        study=study,
        human_minutes=_HUMAN_MINUTES,
        compute_minutes=math.ceil(sum(trial["duration_s"] for trial in result["trials"]) / 60),
        num_trials=len(result["trials"]),
        targets=[
            *(f"{folders[name]}/{name}.pdf" for name in figures),
            f"{output_dir('results', tier)}/{TABLE_NAMES[study]}.tex",
        ],
        verdicts=[verdict for verdict in verdicts if verdict.study == study],
    )


def _pins() -> dict[str, str]:
    """Return the exact version of each package that the environment holds."""
    lines = (repository_root() / "envs/requirements.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)
