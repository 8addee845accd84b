"""Numbers that a search only brackets, and quantities whose intervals cover all that a bracket leaves open.

Trials that begin at the same prediction end in the same bracket, so where the truth lies in it is one unknown for all
of them and does not average out. An interval therefore reaches from the lower end of what the brackets' lower ends say
to the upper end of what their upper ends say: it covers every place in the brackets, and their scatter on top of it
(Imbens and Manski, "Confidence intervals for partially identified parameters", Econometrica 72(6), 2004).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from ablations.analysis.quantities import estimate, estimate_ratio
from ablations.analysis.quantity import Quantity


@dataclass(frozen=True, slots=True)
class Bracket:
    """Where the largest number that succeeds lies, of one trial.

    Attributes:
        low: the largest that was seen to succeed; 0 if none did.
        middle: what stands for it: halfway to the smallest failure on a logarithmic scale; 0 if none succeeded, since a
            search that has not seen a success says nothing of where one is.
        high: the number before the smallest that was seen to fail.
    """

    low: float
    middle: float
    high: float


def read_bracket(boundary: dict[str, Any]) -> Bracket:
    """Return the bracket that a trial's search ended with; without a failure nothing beyond the success is known."""
    success, failure = boundary["largest_success"], boundary["smallest_failure"]
    if failure is None or failure - success <= 1:
        return Bracket(float(success), float(success), float(success))
    return Bracket(float(success), math.sqrt(success * failure), float(failure - 1))


def estimate_bracketed(brackets: Sequence[Bracket], unit: str) -> Quantity:
    """Estimate the mean over trials of a bracketed number.

    Args:
        brackets: of each trial, at least one.
        unit: of the number.
    """
    return _covering(
        estimate(_places(brackets, "middle"), unit),
        estimate(_places(brackets, "low"), unit),
        estimate(_places(brackets, "high"), unit),
    )


def estimate_bracketed_ratio(numerator: Sequence[Bracket], denominator: Sequence[Bracket]) -> Quantity | None:
    """Estimate the ratio of two bracketed numbers, paired by trial; None where a trial of either saw no success."""
    middle = estimate_ratio(_places(numerator, "middle"), _places(denominator, "middle"))
    smallest = estimate_ratio(_places(numerator, "low"), _places(denominator, "high"))
    largest = estimate_ratio(_places(numerator, "high"), _places(denominator, "low"))
    if middle is None or smallest is None or largest is None:
        return None
    return _covering(middle, smallest, largest)


def _covering(middle: Quantity, smallest: Quantity, largest: Quantity) -> Quantity:
    # What is searched for is a count.
    return replace(middle, low=max(0.0, min(smallest.low, middle.low)), high=max(largest.high, middle.high))


def _places(brackets: Sequence[Bracket], end: str) -> list[list[float]]:
    return [[getattr(bracket, end)] for bracket in brackets]
