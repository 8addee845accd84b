"""Numbers carry a fitting unit and no more digits than their interval supports."""

from __future__ import annotations

from typing import Any

import pytest

from ablations.rendering.formatting import format_quantity
from ablations.rendering.latex import escape
from ablations.rendering.macros import macro_name


def _quantity(value: float, low: float, high: float, unit: str = "us") -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "unit": unit}


@pytest.mark.parametrize(
    ("quantity", "plain", "interval"),
    [
        (_quantity(1.2345, 1.1, 1.4), "1.23 µs", "[1.10, 1.40]"),
        (_quantity(12_345.6, 12_000.0, 13_000.0), "12.35 ms", "[12.00, 13.00]"),
        (_quantity(153.27, 120.0, 190.0, "ratio"), "153×", "[120, 190]"),
        (_quantity(-0.04, -1.5, 1.2, "%"), "0.0%", "[-1.5, 1.2]"),
        (_quantity(24.0, 24.0, 24.0, "agents"), "24 agents", "[24, 24]"),
        (_quantity(0.5, -40.0, 60.0, "%"), "0%", "[-40, 60]"),
    ],
)
def test_precision_follows_the_interval(quantity: dict[str, Any], plain: str, interval: str) -> None:
    """Two digits of the half-width; value and ends agree in their decimals."""
    number = format_quantity(quantity)
    assert number.plain == plain
    assert number.interval == interval


def test_what_could_not_be_estimated_is_a_dash() -> None:
    """Never a zero."""
    assert format_quantity(None).value == "--"


def test_latex_is_escaped() -> None:
    """A processor's name cannot break the document."""
    assert escape("50% of A_B & C#1") == r"50\% of A\_B \& C\#1"


def test_macro_names_have_letters_only() -> None:
    """LaTeX allows nothing else."""
    assert macro_name("session_arena", "reserve_p99.64") == "AblSessionArenaReservePNineNineSixFour"
