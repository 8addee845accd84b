"""The pages of the report: claims, tables, provenance, and the text that it opens with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from ablations.analysis.quantity import CONFIDENCE, MIN_INVOCATIONS
from ablations.analysis.reading import read_studies
from ablations.rendering.formatting import format_quantity
from ablations.rendering.shown_verdicts import by_grade, read_verdicts
from ablations.settings import repository_root
from ablations.whole_files import write_text

# The title of each page; its template has its name.
PAGE_TITLES = {
    "claims.html": "Claims and verdicts",
    "tables.html": "Every measured quantity",
    "provenance.html": "Settings, environment and sources",
    "report.rst": "Djinn: four ablation studies",
}

# What the flags of results mean.
_FLAGS = {
    "underpowered": f"underpowered, which is fewer than {MIN_INVOCATIONS} trials",
    "busy_before": "other programs ran before measuring",
    "busy_during": "other programs ran while measuring",
    "cpu_steal": "the host took the processor away",
}


def render_pages(inputs: list[Path], claims: Path, output_dir: Path) -> None:
    """Write every page from the same results.

    Args:
        inputs: the aggregated results.
        claims: the verdicts.
        output_dir: where the pages go.

    Raises:
        AggregationError: results that do not belong together.
        RecordError: an input that cannot be used, or an output that cannot be written.
    """
    results = read_studies(inputs)
    verdicts = read_verdicts(claims)
    first = next(iter(results.values()))
    environment = _environment()
    for name, title in PAGE_TITLES.items():
        text = environment.get_template(f"pages/{name}.j2").render(
            title=title,
            tier=first["tier"],
            results=results,
            verdicts=verdicts,
            claimed_of=[(study, list(claimed)) for study, claimed in groupby(verdicts, key=lambda one: one.study)],
            grades=by_grade(verdicts),
            environment=first["environment"],
            settings=list(_settings(results)),
            confidence=round(100 * CONFIDENCE),
        )
        write_text(output_dir / name, text)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(repository_root() / "workflow/templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=jinja2.select_autoescape(["html", "html.j2"]),
    )
    environment.filters |= {"number": format_quantity, "minus": _with_minus, "flag": _explained_flag}
    return environment


def _with_minus(text: str) -> str:
    """Return text with a minus sign before negative numbers; hyphens within words and names stay."""
    return re.sub(r"(?<![\w-])-(?=\d)", "\N{MINUS SIGN}", text)


def _explained_flag(flag: str) -> str:
    """Return a result's flag in words; "busy_during in 1 of 24 trials" says what happened in that one."""
    name, _, where = flag.partition(" ")
    return " ".join((_FLAGS.get(name, name), where)).strip()


def _settings(results: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield every setting by its path, the common ones first."""
    first = next(iter(results.values()))["settings"]
    yield from ((name, value) for name, value in first.items() if name != "study")
    for study, result in results.items():
        yield from _leaves(study, result["settings"]["study"])


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{place}.{key}", inner)
    else:
        yield place, value
