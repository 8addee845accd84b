"""The panel of verdicts: every measured claim's interval, in multiples of its threshold, grouped by grade."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from ablations.rendering.style import GRADE_LOOKS

# Beyond one threshold to either side the axis is logarithmic: intervals lie from a thousandth to a thousand of it.
_LINEAR_TO = 1.0
# Drawn hollow: the number decides nothing.
_UNJUDGED = ("not testable here", "inconsistent in the source")
_SHADED_FROM, _SHADED_TO = -1e5, 1e5


def measured_claims(judged: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the verdicts that have a number, in order of their grades, then of the document."""
    order = list(GRADE_LOOKS)
    measured = [verdict for verdict in judged["verdicts"] if verdict["measured"] is not None and _reference(verdict)]
    return sorted(measured, key=lambda verdict: order.index(verdict["grade"]))


def draw_claims(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw the intervals, what each claim wants as a band, and the grades at the right."""
    for place, row in enumerate(rows):
        colour, _, marker = GRADE_LOOKS[row["grade"]]
        low, value, high = (row["measured"][name] / _reference(row) for name in ("low", "value", "high"))
        lower, upper = (None if bound is None else bound / _reference(row) for bound in row["bounds"])
        axes.barh(
            place,
            (_SHADED_TO if upper is None else upper) - (_SHADED_FROM if lower is None else lower),
            0.72,
            left=_SHADED_FROM if lower is None else lower,
            color="0.9",
        )
        axes.errorbar(
            value,
            place,
            xerr=[[value - low], [high - value]],
            fmt=marker,
            color=colour,
            elinewidth=1.1,
            markerfacecolor="white" if row["grade"] in _UNJUDGED else colour,
        )
    axes.set_xscale("symlog", linthresh=_LINEAR_TO, linscale=1.0)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.axvline(1, color="black", linewidth=0.6)
    axes.set_xlim(*_limits(rows))
    axes.set_yticks(range(len(rows)), [row["id"] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("measured, in multiples of the threshold (grey: what the claim wants; hollow: not judged by it)")
    axes.grid(visible=False)
    _name_grades(axes, rows)


def _reference(row: dict[str, Any]) -> float:
    """Return the threshold that is drawn at 1: the lower one of two, or the margin of an equivalence."""
    lower, upper = row["bounds"]
    return float(upper if lower is None or row["comparison"] == "equivalent" else lower)


def _limits(rows: list[dict[str, Any]]) -> tuple[float, float]:
    lows = [row["measured"]["low"] / _reference(row) for row in rows]
    highs = [row["measured"]["high"] / _reference(row) for row in rows]
    return min([-0.2, *(1.5 * low for low in lows)]), max([2.0, *(1.5 * high for high in highs)])


def _name_grades(axes: Axes, rows: list[dict[str, Any]]) -> None:
    right = axes.secondary_yaxis("right")
    grades = [row["grade"] for row in rows]
    middles = [grades.index(grade) + (grades.count(grade) - 1) / 2 for grade in dict.fromkeys(grades)]
    right.set_yticks(middles, [grade.replace(" in the ", " in\nthe ") for grade in dict.fromkeys(grades)])
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    for place in range(1, len(grades)):
        if grades[place] != grades[place - 1]:
            axes.axhline(place - 0.5, color="0.5", linewidth=0.5)
