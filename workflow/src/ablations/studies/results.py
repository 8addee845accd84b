"""What a trial returns, and checks that fail it loudly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ablations.errors import MeasurementError


@dataclass(slots=True, kw_only=True)
class Measured:
    """What a trial measured, for its record."""

    samples: dict[str, Any]
    counters: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, bool] = field(default_factory=dict)


def require(condition: bool, what: str) -> None:
    """Fail the trial loudly unless a check holds.

    Raises:
        MeasurementError: it does not.
    """
    if not condition:
        raise MeasurementError(
            f"The trial's check failed: {what}; nothing was recorded, so find the cause and run it again."
        )
