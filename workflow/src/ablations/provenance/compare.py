"""Results of this machine beside committed reference runs and beside what the paper states.

Ratios and counts speak of Djinn and are compared; absolute times speak of the hardware too, so that they are shown, and
labelled where the hardware differs, but never judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.analysis.reading import read_aggregated
from ablations.errors import RecordError
from ablations.provenance.claims import statements
from ablations.provenance.folder import locate_trial, result_files
from ablations.records import SCHEMA_VERSION, read_record, write_json
from ablations.rendering.formatting import format_quantity
from ablations.rendering.latex import render_template
from ablations.settings import STUDIES
from ablations.whole_files import write_text

# In percent of something, where every other percentage says how much more one thing takes than another.
_SHARES = ("reserve_over_commit", "reserve_residual", "commit_residual")
_RATIO_UNITS = ("%", "ratio", "exponent")
_TIME_UNITS = ("ns", "us", "ms", "s")
_HARDWARE = ("cpu_model", "cpu_cores_used", "accelerator")


@dataclass(frozen=True, slots=True)
class Reference:
    """One study of one reference run.

    Attributes:
        machine: the name of its folder.
        result: aggregated.
    """

    machine: str
    result: dict[str, Any]


def compare_files(results_dir: Path, reference_dir: Path, output: Path) -> Iterator[str]:
    """Write the comparison as JSON, and beside it as a LaTeX table and a page of text; yield what was left out and why.

    Args:
        results_dir: the folder of this machine's results.
        reference_dir: a folder with one folder for each reference machine.
        output: the JSON; the others have its name with `_table.tex` and `.txt`.

    Raises:
        RecordError: no results, a damaged one among those of this machine, or no folder of references.
    """
    if not reference_dir.is_dir():
        raise RecordError(
            f"References {reference_dir} are no folder; pass one that holds a folder for each machine, as results/reference."
        )
    here = {study: read_aggregated(path) for study, path in result_files(results_dir).items() if study in STUDIES}
    references, skipped = usable_references(reference_dir, set(here))
    yield from (f"left out: {reason}" for reason in skipped)
    rows = [row for study, result in here.items() for row in _rows(study, result, references.get(study, []))]
    first = next(iter(here.values()))
    machines = sorted({reference.machine for held in references.values() for reference in held})
    comparison = {
        "schema_version": SCHEMA_VERSION,
        "tier": first["tier"],
        "environment": first["environment"],
        "machines": machines,
        "skipped": skipped,
        "notes": list(_notes(here, references)),
        "rows": rows,
    }
    write_json(output, comparison)
    table = render_template(
        "compare_table.tex.j2", rows=[row for row in rows if row["kind"] == "ratio"], machines=machines
    )
    write_text(output.with_name(f"{output.stem}_table.tex"), table)
    write_text(output.with_suffix(".txt"), "\n".join(_page(comparison)) + "\n")


def usable_references(reference_dir: Path, studies: set[str]) -> tuple[dict[str, list[Reference]], list[str]]:
    """Return the reference results that this release can read, by study, and why the others are left out."""
    usable: dict[str, list[Reference]] = {}
    skipped = []
    for folder in sorted(path for path in reference_dir.glob("*") if path.is_dir()):
        try:
            paths = result_files(folder)
        except RecordError as error:
            skipped.append(str(error))
            continue
        for study, path in paths.items():
            if study in studies:
                try:
                    result = _readable(folder, study, path)
                except RecordError as error:
                    skipped.append(
                        f"{study} of {folder.name}, because it is of another form: {str(error).partition('; ')[0]}"
                    )
                    continue
                usable.setdefault(study, []).append(Reference(folder.name, result))
    return usable, skipped


def _readable(folder: Path, study: str, path: Path) -> dict[str, Any]:
    """Read a result whose trials fit the present schema too; one trial of each variant tells."""
    result = read_aggregated(path)
    for entry in {entry["variant"]: entry for entry in result["trials"]}.values():
        read_record(locate_trial(folder, study, entry))
    return result


def _rows(study: str, result: dict[str, Any], references: list[Reference]) -> Iterator[dict[str, Any]]:
    for name, quantity in result["quantities"].items():
        if quantity is None:
            continue
        beside = {
            reference.machine: _beside(name, quantity, other, _obstacle(quantity["unit"], result, reference.result))
            for reference in references
            if (other := reference.result["quantities"].get(name)) is not None and other["unit"] == quantity["unit"]
        }
        yield {
            "study": study,
            "quantity": name,
            "unit": quantity["unit"],
            "kind": quantity_kind(quantity["unit"]),
            "here": quantity,
            "references": beside,
            "paper": statements(study, name),
        }


def quantity_kind(unit: str) -> str:
    """Return what a unit makes comparable: a ratio, a count, or an absolute time."""
    if unit in _RATIO_UNITS:
        return "ratio"
    return "absolute time" if unit.partition("/")[0] in _TIME_UNITS else "count"


def _beside(name: str, here: dict[str, Any], there: dict[str, Any], obstacle: str | None) -> dict[str, Any]:
    overlap = here["low"] <= there["high"] and there["low"] <= here["high"]
    verdict = obstacle or ("intervals overlap" if overlap else "intervals apart")
    return {"there": there, "quotient": quotient(name, here, there), "verdict": verdict}


def _obstacle(unit: str, here: dict[str, Any], there: dict[str, Any]) -> str | None:
    """Return why two values may not be compared; None where they may."""
    if here["settings_sha256"] != there["settings_sha256"]:
        return "other settings"
    same = all(here["environment"][name] == there["environment"][name] for name in _HARDWARE)
    return None if same or quantity_kind(unit) != "absolute time" else "different hardware"


def quotient(name: str, here: dict[str, Any], there: dict[str, Any]) -> float | None:
    """Return how many times the other value this one is; overheads in percent are compared as slow-downs, shares as they are."""
    one, other = here["value"], there["value"]
    if is_excess(name, here["unit"]):
        one, other = 1 + one / 100, 1 + other / 100
    return one / other if one > 0 and other > 0 else None


def is_excess(name: str, unit: str) -> bool:
    """Tell whether a quantity says by how many percent one thing takes more than another."""
    return unit == "%" and name not in _SHARES


def _notes(here: dict[str, dict[str, Any]], references: dict[str, list[Reference]]) -> Iterator[str]:
    """Yield what a reader has to know before comparing."""
    for study, result in here.items():
        if "underpowered" in result["flags"]:
            yield f"{study}: too few trials here for the intervals to mean what they say"
        for reference in references.get(study, []):
            if reference.result["settings_sha256"] != result["settings_sha256"]:
                yield f"{study}: {reference.machine} was measured with other settings"
            if reference.result["sources_sha256"] != result["sources_sha256"]:
                yield f"{study}: {reference.machine} was measured with other code"


def _page(comparison: dict[str, Any]) -> Iterator[str]:
    """Yield the page of plain text."""
    environment = comparison["environment"]
    machine = f"{environment['cpu_model']}, {environment['cpu_cores_used']} cores"
    if environment["accelerator"] is not None:
        machine = f"{environment['accelerator']} with {machine}"
    yield f"Results of tier {comparison['tier']} on {machine},"
    yield f"beside {', '.join(comparison['machines']) or 'no reference run'} and the paper."
    yield from (f"Note: {note}." for note in comparison["notes"])
    yield from (f"Left out: {reason}" for reason in comparison["skipped"])
    for kind, title in (
        ("ratio", "Ratios: comparable between machines"),
        ("count", "Counts: comparable where the settings are the same"),
        ("absolute time", "Absolute times: of the hardware as much as of Djinn"),
    ):
        yield f"\n{title}\n{'-' * len(title)}"
        for row in comparison["rows"]:
            if row["kind"] == kind:
                yield from _row_lines(row)


def _row_lines(row: dict[str, Any]) -> Iterator[str]:
    here = format_quantity(row["here"])
    yield f"{row['study']}.{row['quantity']}: {here.plain} {here.interval}"
    for machine, beside in row["references"].items():
        there = format_quantity(beside["there"])
        kind = "as a slow-down " if is_excess(row["quantity"], row["unit"]) else ""
        times = f", here {kind}{beside['quotient']:.3g} times that" if beside["quotient"] is not None else ""
        yield f"    {machine}: {there.plain} {there.interval}{times}; {beside['verdict']}"
    yield from (f"    paper: {text}" for text in row["paper"])
