"""A reported quantity: a value with its interval; apart from what estimates it, so that readers load no NumPy."""

from __future__ import annotations

import msgspec

CONFIDENCE = 0.95
# Fewer invocations cannot carry a 95 % interval.
MIN_INVOCATIONS = 6
# Of a mode of study 4, so that it has two pairs: one pair alone would show no spread between pairs.
MIN_TRIALS_FOR_NOISE = 4


class Quantity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reported number.

    Attributes:
        value: the estimate.
        low, high: ends of the interval at `confidence`.
        unit: of all three.
        num_invocations: processes that were measured.
        num_samples: iterations in all of them; of the smaller arm for a comparison.
        confidence: of the interval.
    """

    value: float
    low: float
    high: float
    unit: str
    num_invocations: int
    num_samples: int
    confidence: float = CONFIDENCE

    @property
    def is_underpowered(self) -> bool:
        """Tell whether there are too few invocations for the interval to mean what it says."""
        return self.num_invocations < MIN_INVOCATIONS
