"""Numbers carry a fitting unit and no more digits than their interval supports."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.rendering.cells import table_cell, table_column
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


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_no_number_is_more_precise_than_its_interval(value: float, half_width: float) -> None:
    """A last place below a hundredth of the half-width would claim what was not measured."""
    number = format_quantity(_quantity(value, value - half_width, value + half_width, "%"))
    last_place = 10.0 ** -len(number.value.partition(".")[2])
    assert last_place >= half_width / 100 or last_place == 1
    assert {len(text.partition(".")[2]) for text in (number.low, number.high)} == {len(number.value.partition(".")[2])}


def test_latex_has_minus_signs_and_tables_have_plain_digits() -> None:
    """A hyphen is no sign in text, and siunitx reads a comma as a decimal point."""
    quantity = _quantity(-12_345.0, -13_000.0, -11_000.0, "%")
    assert format_quantity(quantity).latex == r"$-$12,345\%"
    assert format_quantity(quantity).latex_interval == "[$-$13,000, $-$11,000]"
    assert table_cell(quantity) == r"-12345 & {\scriptsize [\num{-13000}, \num{-11000}]}"
    assert table_cell(None) == "{--} & "


def test_a_columns_width_fits_its_values() -> None:
    """Sign, integers and decimals of the longest; what could not be estimated takes no room."""
    quantities = {"a.x": _quantity(-1.234, -1.3, -1.1), "a.y": _quantity(12_345.0, 12_000.0, 13_000.0), "a.z": None}
    assert table_column(quantities, ["x", "y", "z"], "us", "a.") == "S[table-format=-5.2]"


def test_what_could_not_be_estimated_is_a_dash() -> None:
    """Never a zero."""
    assert format_quantity(None).value == "--"


def test_latex_is_escaped() -> None:
    """A processor's name cannot break the document."""
    assert escape("50% of A_B & C#1") == r"50\% of A\_B \& C\#1"


def test_macro_names_have_letters_only() -> None:
    """LaTeX allows nothing else."""
    assert macro_name("session_arena", "reserve_p99.64") == "AblSessionArenaReservePNineNineSixFour"
