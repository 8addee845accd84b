"""What panels with intervals share."""

from __future__ import annotations

from typing import Any


def error_pair(quantities: list[dict[str, Any]]) -> list[list[float]]:
    """Return the distances from value to the lower and to the upper end, as matplotlib wants them."""
    return [[q["value"] - q["low"] for q in quantities], [q["high"] - q["value"] for q in quantities]]
