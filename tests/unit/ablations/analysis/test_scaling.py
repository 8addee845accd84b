"""Slopes of synthetic costs are found, and flat costs are found flat."""

from __future__ import annotations

import numpy as np
import pytest

from ablations.analysis.scaling import binned_medians, fit_power_law, slope_over_groups, slope_over_range


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
    assert quantity is not None
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
    assert quantity is not None
    assert 0 < quantity.low <= 0.01 <= quantity.high


def test_bins_hold_medians_in_order() -> None:
    """For the figure."""
    points = binned_medians([(float(x), float(x % 2)) for x in range(100)])
    assert len(points) == 20
    assert [x for x, _ in points] == sorted(x for x, _ in points)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.6])
def test_a_known_exponent_lies_in_its_interval(exponent: float) -> None:
    """And costs that follow the law leave no residual beyond noise."""
    generator = np.random.default_rng(1)
    sizes = np.repeat([64.0, 128.0, 256.0, 300.0], 100)
    invocations = [
        list(zip(sizes, 3 * sizes**exponent * generator.lognormal(0, 0.05, 400), strict=True)) for _ in range(6)
    ]
    found, residual = fit_power_law(invocations)
    assert found.low <= exponent <= found.high
    assert found.high - found.low < 0.05
    assert residual.high < 3


def test_a_cost_that_thrashes_at_one_size_has_a_residual() -> None:
    """No power law fits a step."""
    invocations = [[(64.0, 1.0), (128.0, 1.0), (256.0, 5.0), (300.0, 1.0)]] * 6
    _, residual = fit_power_law(invocations)
    assert residual.low > 50


def test_two_sizes_have_a_slope() -> None:
    """Through two points there is exactly one line."""
    slope = slope_over_groups([[(1.0, 5.0), (3.0, 9.0)]], "ns/MB")
    assert slope is not None
    assert slope.value == pytest.approx(2.0)


def test_a_single_size_has_no_growth() -> None:
    """Neither a slope of zero nor an exponent of zero was measured."""
    invocations = [[(64.0, 3.0), (64.0, 4.0)], [(64.0, 3.5)]]
    assert slope_over_groups(invocations, "ns/MB") is None
    assert slope_over_range(invocations, "ns") is None
    assert fit_power_law(invocations) == (None, None)
