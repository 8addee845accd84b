"""Whether a cost grows: least-squares fits within each invocation, for an interval over invocations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ablations.analysis.quantities import estimate
from ablations.analysis.quantity import Quantity

_NUM_BINS = 20


Points = Sequence[tuple[float, float]]


def slope_over_groups(invocations: Sequence[Points], unit: str) -> Quantity | None:
    """Estimate the slope of y over x, where x takes few distinct values; medians of y at each x are fitted.

    Args:
        invocations: (x, y) pairs of each invocation.
        unit: of the slope.

    Returns:
        None where some invocation has a single x.
    """
    return _slope([_medians(pairs) for pairs in invocations], unit)


def slope_over_range(invocations: Sequence[Points], unit: str) -> Quantity | None:
    """Estimate the slope of y over x, where every x is different; medians of y in equal bins of x are fitted."""
    return _slope([binned_medians(pairs) for pairs in invocations], unit)


def fit_power_law(invocations: Sequence[Points]) -> tuple[Quantity | None, Quantity | None]:
    """Fit y = a x^b to the medians of y at each x, within each invocation.

    Args:
        invocations: positive (x, y) pairs of each invocation.

    Returns:
        The exponent b (0: x does not matter, 1: proportional, more: worse than linear), and by how many percent the
        median that fits worst lies off the fit; None where some invocation has a single x.
    """
    if not all(len(_medians(pairs)) > 1 for pairs in invocations):
        return None, None
    fits = [_log_fit(_medians(pairs)) for pairs in invocations]
    return estimate([[b] for b, _ in fits], "exponent"), estimate([[residual] for _, residual in fits], "%")


def binned_medians(pairs: Points) -> list[tuple[float, float]]:
    """Return (mean x, median y) of up to 20 bins of equal numbers of pairs in order of x."""
    frame = pd.DataFrame(pairs, columns=["x", "y"])
    bins = pd.qcut(frame["x"], min(_NUM_BINS, len(frame)), duplicates="drop")
    grouped = frame.groupby(bins, observed=True).agg({"x": "mean", "y": "median"})
    return [(float(x), float(y)) for x, y in grouped.to_numpy()]


def _medians(pairs: Points) -> list[tuple[float, float]]:
    medians = pd.DataFrame(pairs, columns=["x", "y"]).groupby("x")["y"].median()
    return [(float(x), float(y)) for x, y in medians.items()]


def _log_fit(points: Points) -> tuple[float, float]:
    x, y = np.log(points).T
    slope, intercept = np.polyfit(x, y, 1)
    residuals = y - (intercept + slope * x)
    return float(slope), float(100 * np.expm1(np.abs(residuals).max()))


def _slope(invocations: Sequence[Points], unit: str) -> Quantity | None:
    if not all(len(points) > 1 for points in invocations):
        return None
    return estimate([[_fit(points)] for points in invocations], unit)


def _fit(points: Points) -> float:
    x, y = np.asarray(points).T
    return float(np.polyfit(x, y, 1)[0])
