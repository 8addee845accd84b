"""Table cells for siunitx: a value that aligns at its decimal point, its interval beside it, and the column for both."""

from __future__ import annotations

from typing import Any

from ablations.rendering.formatting import format_quantity

Quantity = dict[str, Any]


def table_value(quantity: Quantity | None, unit: str | None = None) -> str:
    """Return a value for an `S` column; braces keep siunitx from reading a dash as a number."""
    digits = _plain(format_quantity(quantity, unit).value)
    return "{--}" if quantity is None else digits


def table_interval(quantity: Quantity | None, unit: str | None = None) -> str:
    """Return an interval for a text column; nothing for what could not be estimated."""
    if quantity is None:
        return ""
    number = format_quantity(quantity, unit)
    low, high = _plain(number.low), _plain(number.high)
    return rf"{{\scriptsize [\num{{{low}}}, \num{{{high}}}]}}"


def table_cell(quantity: Quantity | None, unit: str | None = None) -> str:
    """Return value and interval as two cells, for a column of `table_column`."""
    return f"{table_value(quantity, unit)} & {table_interval(quantity, unit)}"


def table_column(
    quantities: dict[str, Quantity | None], names: list[str], unit: str | None = None, prefix: str = ""
) -> str:
    """Return the `S` column whose width fits the values that it will hold.

    Args:
        quantities: of a study.
        names: of those in the column, without what they begin with alike.
        unit: that the column's cells are converted to.
        prefix: what the names begin with.
    """
    held = [quantities[prefix + name] for name in names]
    values = [_plain(format_quantity(quantity, unit).value) for quantity in held if quantity is not None]
    parts = [value.removeprefix("-").partition(".") for value in values]
    integers = max((len(whole) for whole, _, _ in parts), default=1)
    decimals = max((len(decimal) for _, _, decimal in parts), default=0)
    sign = "-" if any(value.startswith("-") for value in values) else ""
    return f"S[table-format={sign}{integers}.{decimals}]"


def _plain(digits: str) -> str:
    """Drop the commas between thousands, which siunitx would take for decimal points."""
    return digits.replace(",", "")
