"""Verdicts as pages show them: numbered C1, C2, ... in the order of the claims file, with bounds and values as text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.judging.grades import Grade
from ablations.records import read_result
from ablations.rendering.formatting import Number, format_quantity

_UNITS = {"us": "µs", "ratio": "×", "exponent": ""}


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """One claim and its verdict.

    Attributes:
        label: C1, C2, ...
        id, study, quote, section, line, reading: of the claim.
        bound: what the metric has to be, in words.
        measured: the metric, None where there is none.
        num_invocations: that the metric comes from.
        grade, reason: of the verdict.
    """

    label: str
    id: str
    study: str
    quote: str
    section: str
    line: int
    reading: str
    bound: str
    measured: Number | None
    num_invocations: int
    grade: str
    reason: str


def read_verdicts(path: Path) -> list[ShownVerdict]:
    """Read the verdicts.

    Raises:
        RecordError: a file that is missing, damaged or of another kind.
    """
    plain = read_result(path, "verdicts")["verdicts"]
    return [_shown(number, verdict) for number, verdict in enumerate(plain, start=1)]


def by_grade(verdicts: list[ShownVerdict]) -> list[tuple[str, list[ShownVerdict]]]:
    """Return the verdicts of each grade that occurs, best grade first."""
    groups = [(grade.value, [one for one in verdicts if one.grade == grade]) for grade in Grade]
    return [(grade, members) for grade, members in groups if members]


def claim_label(number: int) -> str:
    """Return what pages call a claim, by its place in the claims file, from 1."""
    return f"C{number}"


def _shown(number: int, verdict: dict[str, Any]) -> ShownVerdict:
    measured, unit = verdict["measured"], verdict["unit"]
    return ShownVerdict(
        label=claim_label(number),
        **{name: verdict[name] for name in ("id", "study", "quote", "section", "line", "reading", "grade", "reason")},
        bound=_bound(*verdict["bounds"]) + _unit(unit),
        measured=None if measured is None else format_quantity(measured, unit),
        num_invocations=0 if measured is None else measured["num_invocations"],
    )


def _bound(lower: float | None, upper: float | None) -> str:
    if lower is not None and upper is not None:
        return f"{lower:g} to {upper:g}"
    return f"at least {lower:g}" if lower is not None else f"at most {upper:g}"


def _unit(unit: str) -> str:
    """Return a unit as it follows its number, on the same line; a factor follows at once."""
    shown = _UNITS.get(unit, unit)
    return shown if shown in ("", "×") else f"\N{NO-BREAK SPACE}{shown}"
