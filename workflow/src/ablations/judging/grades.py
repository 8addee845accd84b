"""What a verdict is: a grade with its reason, and how the numbers in a reason are written."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ablations.analysis.quantity import Quantity


class Grade(StrEnum):
    """How a claim fared, best first."""

    REPRODUCED = "reproduced"
    DIRECTION_ONLY = "direction only"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"
    NOT_TESTABLE = "not testable here"
    INCONSISTENT = "inconsistent in the source"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one claim.

    Attributes:
        grade: of the claim.
        reason: in a sentence, without a full stop.
        measured: the metric in the claim's unit; None where there is none.
        noise_floor_pct: the largest difference that identical arms showed; None without an A/A arm.
        num_invocations_needed: to decide an inconclusive claim; None if decided, or if no number is known.
    """

    grade: Grade
    reason: str
    measured: Quantity | None = None
    noise_floor_pct: float | None = None
    num_invocations_needed: int | None = None


def describe(quantity: Quantity) -> str:
    """Return a value with its interval, and how often it was measured."""
    value, low, high = (_three_digits(number) for number in (quantity.value, quantity.low, quantity.high))
    number = f"{value} [{low}, {high}]{shown_unit(quantity.unit)}"
    plural = "s" if quantity.num_invocations > 1 else ""
    return f"{number} over {quantity.num_invocations} invocation{plural}"


def _three_digits(number: float) -> str:
    """Show a number with three digits, or with all before the point if there are more."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def shown_unit(unit: str) -> str:
    """Return what stands behind a number of this unit; an exponent has none."""
    return {"ratio": "×", "exponent": ""}.get(unit, f" {unit}")


def promise(num_needed: int | None) -> str:
    """Return the end of a reason that says how many invocations would decide; nothing if that is not known."""
    return f"; about {num_needed} invocations would decide" if num_needed else ""
