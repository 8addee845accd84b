"""Numbers for readers: a unit that fits, and no more digits than the interval supports."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# A unit, and the larger one to change to at a thousand.
_LARGER_UNIT = {"ns": "us", "us": "ms", "ms": "s"}
_LATEX_UNITS = {
    "us": r"$\mu$s",
    "%": r"\%",
    "ratio": r"$\times$",
    "agents": "agents",
    "swaps/agent": "swaps per agent",
    "MiB/agent": "MiB per agent",
    "ns/MB": "ns/MB",
}
_PLAIN_UNITS = {"us": "µs", "ratio": "×"}


@dataclass(frozen=True, slots=True)
class Number:
    """A quantity as text.

    Attributes:
        value, low, high: digits only.
        unit: as in the data, after scaling.
    """

    value: str
    low: str
    high: str
    unit: str

    @property
    def interval(self) -> str:
        """The interval in brackets."""
        return f"[{self.low}, {self.high}]"

    @property
    def latex_value(self) -> str:
        """The value for LaTeX, without its unit."""
        return _latex_digits(self.value)

    @property
    def latex_interval(self) -> str:
        """The interval in brackets for LaTeX."""
        return f"[{_latex_digits(self.low)}, {_latex_digits(self.high)}]"

    @property
    def latex_unit(self) -> str:
        """The unit for LaTeX."""
        return _LATEX_UNITS.get(self.unit, self.unit)

    @property
    def plain_unit(self) -> str:
        """The unit for a figure."""
        return _PLAIN_UNITS.get(self.unit, self.unit)

    @property
    def latex(self) -> str:
        """The value with its unit for LaTeX."""
        if self.unit in ("%", "ratio"):
            return f"{self.latex_value}{self.latex_unit}"
        return rf"{self.latex_value}\,{self.latex_unit}"

    @property
    def plain(self) -> str:
        """The value with its unit for a figure."""
        return f"{self.value}{self.plain_unit}" if self.unit in ("%", "ratio") else f"{self.value} {self.plain_unit}"


def format_quantity(quantity: dict[str, Any] | None, unit: str | None = None) -> Number:
    """Return a quantity as text; dashes for one that could not be estimated.

    Args:
        quantity: a plain quantity, or None.
        unit: to convert times to; by default the largest in which the value is at least 1.
    """
    if quantity is None:
        return Number("--", "--", "--", unit or "")
    factor, shown_unit = _scale(quantity, unit)
    value, low, high = (quantity[name] / factor for name in ("value", "low", "high"))
    decimals = _decimals(value, (high - low) / 2)
    return Number(_digits(value, decimals), _digits(low, decimals), _digits(high, decimals), shown_unit)


def _latex_digits(digits: str) -> str:
    """Return digits with a minus sign for LaTeX, whose text has hyphens only; dashes stay."""
    return digits if digits == "--" else digits.replace("-", "$-$")


def _scale(quantity: dict[str, Any], wanted: str | None) -> tuple[float, str]:
    factor, unit = 1.0, quantity["unit"]
    while unit in _LARGER_UNIT and unit != wanted and (wanted is not None or abs(quantity["value"]) / factor >= 1000):
        factor, unit = factor * 1000, _LARGER_UNIT[unit]
    return factor, unit


def _decimals(value: float, half_width: float) -> int:
    """Return the decimals that show two digits of the half-width, but no more than four of the value."""
    if half_width == 0 and value == int(value):
        return 0
    supported = _decimals_for(half_width, 2) if half_width > 0 else 4
    readable = _decimals_for(abs(value), 4) if value else supported
    return max(0, min(supported, readable)) if half_width < abs(value) else max(0, supported)


def _decimals_for(number: float, digits: int) -> int:
    """Return the decimals that show `digits` significant digits of a positive number."""
    return digits - 1 - math.floor(math.log10(number))


def _digits(number: float, decimals: int) -> str:
    text = f"{number:,.{decimals}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text
