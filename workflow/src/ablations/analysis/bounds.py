"""What an interval decides about a bound, what the noise floor hides, and how many invocations a decision needs.

"At most" and "at least" are one-sided tests: the interval's end against the bound. "Equivalent" is two of them, one
at each margin (Schuirmann, "A comparison of the two one-sided tests procedure", Journal of Pharmacokinetics and
Biopharmaceutics 15(6), 1987). The ends of a two-sided 95 % interval make each of them a test at 2.5 %.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from ablations.analysis.quantity import CONFIDENCE, MIN_INVOCATIONS, Quantity

Decision = Literal["holds", "fails", "undecided"]

ONE_SIDED_CONFIDENCE = (1 + CONFIDENCE) / 2
POWER = 0.8
# More than anybody would measure for one number.
MAX_INVOCATIONS = 1000


def decide(quantity: Quantity, lower: float | None, upper: float | None) -> Decision:
    """Tell whether a quantity lies between two bounds, of which either may be missing.

    Returns:
        "holds" if the whole interval lies strictly inside, "fails" if all of it lies beyond one bound, and
        "undecided" if a bound lies within it.
    """
    above = lower is None or quantity.low > lower
    below = upper is None or quantity.high < upper
    if above and below:
        return "holds"
    if (lower is not None and quantity.high <= lower) or (upper is not None and quantity.low >= upper):
        return "fails"
    return "undecided"


def noise_floor_pct(same_against_same: Quantity) -> float:
    """Return the largest difference, in percent, that two identical arms may still show: no smaller one is an effect."""
    return max(abs(same_against_same.low), abs(same_against_same.high))


def invocations_needed(quantity: Quantity, bound: float, *, centre: float | None = None) -> int | None:
    """Return how many invocations tell a quantity from a bound.

    The spread between invocations is what the interval implies (half-width = t spread / sqrt n). The number is the
    smallest n for which a value that stays where it is has its bound outside the interval with 80 % probability:
    (t_0.975 + t_0.8) spread / sqrt n <= distance (Chow, Shao and Wang, "Sample size calculations in clinical
    research", 2008, section 3.1). Ratios and percentages are taken logarithmically.

    Args:
        quantity: of at least two invocations; of one, no spread is known.
        bound: to tell it from, in the quantity's unit.
        centre: where the value is expected; by default where it was found.

    Returns:
        At least six; None where more than a thousand would not do, or where the spread is not known.
    """
    # Imported where it is needed: pages and documents show verdicts and compute none.
    from scipy import special

    count = quantity.num_invocations
    if count < 2:
        return None
    value, low, high, wanted = (_linear(x, quantity.unit) for x in (quantity.value, quantity.low, quantity.high, bound))
    distance = abs(wanted - (value if centre is None else _linear(centre, quantity.unit)))
    half_width = high - value if wanted > value else value - low
    spread = half_width * math.sqrt(count) / float(special.stdtrit(count - 1, ONE_SIDED_CONFIDENCE))
    numbers = np.arange(MIN_INVOCATIONS, MAX_INVOCATIONS + 1)
    quantiles = special.stdtrit(numbers - 1, ONE_SIDED_CONFIDENCE) + special.stdtrit(numbers - 1, POWER)
    enough = numbers[quantiles * spread / np.sqrt(numbers) <= distance]
    return int(enough[0]) if len(enough) and distance > 0 else None


def _linear(value: float, unit: str) -> float:
    """Return the scale on which invocations are averaged."""
    if unit == "ratio":
        return math.log(value)
    return math.log1p(value / 100) if unit == "%" else value
