"""Slopes of synthetic costs are found, and flat costs are found flat."""

from __future__ import annotations

import numpy as np
import pytest

from ablations.analysis.scaling import binned_medians, slope_over_groups, slope_over_range


def _cost(slope: float, seed: int) -> list[tuple[float, float]]:
    generator = np.random.default_rng(seed)
    return [
        (x, 100 + slope * x + generator.exponential(3))
        for x in generator.permutation(np.repeat([64, 128, 256, 300], 200))
    ]


@pytest.mark.parametrize("slope", [0.0, 0.5, -0.2])
def test_a_known_slope_lies_in_its_interval(slope: float) -> None:
    """Over sizes, with skewed noise."""
    quantity = slope_over_groups([_cost(slope, seed) for seed in range(6)], "ns/MB")
    assert quantity.low <= slope <= quantity.high
    assert quantity.high - quantity.low < 0.02


def test_a_growing_cost_is_not_called_flat() -> None:
    """Over a range where every x is different; a few outliers change nothing."""
    generator = np.random.default_rng(0)
    invocations = []
    for _ in range(6):
        pairs = [(float(x), 50 + 0.01 * x + generator.normal(0, 1)) for x in range(4000)]
        pairs[17] = (17.0, 1e6)
        invocations.append(pairs)
    quantity = slope_over_range(invocations, "ns")
    assert 0 < quantity.low <= 0.01 <= quantity.high


def test_bins_hold_medians_in_order() -> None:
    """For the figure."""
    points = binned_medians([(float(x), float(x % 2)) for x in range(100)])
    assert len(points) == 20
    assert [x for x, _ in points] == sorted(x for x, _ in points)
