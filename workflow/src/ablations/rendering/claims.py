"""The verdicts as a LaTeX table and as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ablations.records import read_result
from ablations.rendering.formatting import format_quantity
from ablations.rendering.latex import escape, render_template
from ablations.rendering.names import CLAIMS_TABLE
from ablations.whole_files import write_text

# What a threshold's unit looks like; formatting.py knows the others.
_UNITS = {"ratio": r"$\times$", "%": r"\,\%", "us": r"\,$\mu$s", "exponent": ""}
_ROW_IN, _MARGINS_IN = 0.17, 0.9


def read_verdicts(path: Path) -> dict[str, Any]:
    """Read what `judge` wrote.

    Raises:
        RecordError: a file that is missing, damaged or of another kind.
    """
    return read_result(path, "verdicts")


def render_claims_table(verdicts: Path, output: Path) -> None:
    """Render the table of verdicts.

    Raises:
        RecordError: an input that cannot be used, or an output that cannot be written.
    """
    judged = read_verdicts(verdicts)
    rows = [_row(verdict) for verdict in judged["verdicts"]]
    write_text(output, render_template(f"{CLAIMS_TABLE}.tex.j2", judged=judged, rows=rows))


def render_claims_figure(verdicts: Path, output: Path) -> None:
    """Draw each measured claim's interval against its threshold, as PDF and, beside it, PNG.

    Raises:
        RecordError: an input that cannot be used, or an output that cannot be written.
    """
    # The table alone needs no plotting package.
    from ablations.rendering.panels.claims import draw_claims, measured_claims
    from ablations.rendering.style import FULL_WIDTH_IN, new_figure, save

    rows = measured_claims(read_verdicts(verdicts))
    figure, axes = new_figure(FULL_WIDTH_IN, _MARGINS_IN + _ROW_IN * max(len(rows), 1))
    draw_claims(axes, rows)
    save(figure, output)


def _row(verdict: dict[str, Any]) -> dict[str, Any]:
    name = verdict["id"].partition(".")[2]
    return {**verdict, "name": name, "threshold": _threshold(verdict), "number": _number(verdict)}


def _threshold(verdict: dict[str, Any]) -> str:
    lower, upper = verdict["bounds"]
    unit = _UNITS.get(verdict["unit"], rf"\,{escape(verdict['unit'])}")
    if lower is not None and upper is not None:
        return rf"{lower:g}--{upper:g}{unit}"
    return rf"$>$\,{lower:g}{unit}" if lower is not None else rf"$<$\,{upper:g}{unit}"


def _number(verdict: dict[str, Any]) -> str:
    number = format_quantity(verdict["measured"], verdict["unit"])
    if verdict["measured"] is None:
        return number.value
    return rf"{number.latex_value} {{\scriptsize {number.latex_interval}}}"
