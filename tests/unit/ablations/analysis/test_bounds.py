"""Decisions on bounds: known answers, error rates on synthetic truth, and the power that was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from ablations.analysis import quantities
from ablations.analysis.bounds import decide, invocations_needed, noise_floor_pct
from ablations.analysis.quantities import estimate, estimate_overhead_pct
from ablations.analysis.quantity import Quantity


def _quantity(low: float, value: float, high: float, *, unit: str = "%", count: int = 6) -> Quantity:
    return Quantity(value=value, low=low, high=high, unit=unit, num_invocations=count, num_samples=60)


@pytest.mark.parametrize(
    ("interval", "lower", "upper", "decision"),
    [
        ((1, 2, 3), None, 4, "holds"),
        ((1, 2, 3), None, 2.5, "undecided"),
        ((1, 2, 3), None, 0.5, "fails"),
        ((1, 2, 3), 0.5, None, "holds"),
        ((1, 2, 3), 4, None, "fails"),
        ((1, 2, 3), 0, 4, "holds"),
        ((1, 2, 3), 0, 2, "undecided"),
        ((1, 2, 3), 4, 9, "fails"),
        ((1, 1, 1), 1, None, "fails"),
        ((1, 1, 1), None, 1, "fails"),
    ],
)
def test_an_interval_decides_when_no_bound_lies_in_it(
    interval: tuple[float, float, float], lower: float | None, upper: float | None, decision: str
) -> None:
    """Strictly: no effect is not at least no effect."""
    assert decide(_quantity(*interval), lower, upper) == decision


def test_a_value_on_the_bound_passes_as_seldom_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two one-sided tests' error: an overhead of exactly the margin is called less in 2.5 % of the cases."""
    monkeypatch.setattr(quantities, "_NUM_RESAMPLES", 1000)
    generator = np.random.default_rng(11)
    passed = 0
    for _ in range(1000):
        overhead = 1.05 * np.exp(generator.normal(0, 0.02, (6, 1)) + generator.normal(0, 0.02, (6, 30)))
        passed += decide(estimate_overhead_pct(overhead, np.ones((6, 30))), None, 5.0) == "holds"
    assert passed / 1000 <= 0.05


def test_the_noise_floor_is_the_largest_end() -> None:
    """On either side of zero."""
    assert noise_floor_pct(_quantity(-3.0, 0.0, 1.0)) == 3.0
    assert noise_floor_pct(_quantity(0.5, 1.0, 2.0)) == 2.0


def test_the_number_of_invocations_has_the_power_it_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured that often, a true value that far from the bound is told from it in about 80 % of the cases."""
    monkeypatch.setattr(quantities, "_NUM_RESAMPLES", 1000)
    generator = np.random.default_rng(12)
    spread, distance = 3.0, 2.0
    half_width = 2.5706 * spread / np.sqrt(6)
    needed = invocations_needed(_quantity(-half_width, 0.0, half_width, unit="us"), distance)
    assert needed is not None
    shares = []
    for count in (needed, needed // 2):
        invocations = generator.normal(0, spread, (400, count, 1))
        shares.append(np.mean([decide(estimate(one, "us"), None, distance) == "holds" for one in invocations]))
    assert shares[0] == pytest.approx(0.8, abs=0.08)
    assert shares[1] < 0.65


@pytest.mark.parametrize(
    ("quantity", "bound", "needed"),
    [
        (_quantity(-1, 0, 1), 30.0, 6),
        (_quantity(-1, 0, 1), 0.0, None),
        (_quantity(-1, 0, 1), 0.0001, None),
        (_quantity(-1, 0, 1, count=1), 30.0, None),
        (_quantity(0, 0, 0), 1.0, 6),
    ],
)
def test_extremes_need_six_or_cannot_be_told(quantity: Quantity, bound: float, needed: int | None) -> None:
    """Six at least; no number where no number would do or where one invocation shows no spread."""
    assert invocations_needed(quantity, bound) == needed


def test_a_nearer_bound_needs_more() -> None:
    """On the logarithmic scale of ratios too."""
    ratio = _quantity(1.5, 2.0, 2.67, unit="ratio")
    numbers = [invocations_needed(ratio, bound) for bound in (8.0, 2.6, 2.3, 2.1)]
    assert numbers == sorted(numbers, key=lambda number: number or 0)
    assert numbers[0] == 6
    assert invocations_needed(ratio, 4.0) == invocations_needed(ratio, 1.0)


@pytest.mark.parametrize(
    ("unit", "scale"),
    [("us", lambda number: 100 + number), ("ratio", math.exp), ("%", lambda number: 100 * math.expm1(number))],
    ids=["us", "ratio", "%"],
)
@pytest.mark.parametrize("distance", [0.7, 0.575, 0.5, 0.25, 0.1])
def test_the_number_is_the_least_that_satisfies_the_formula(
    unit: str, scale: Callable[[float], float], distance: float
) -> None:
    """Solved here one n at a time; ratios and percentages on the scale on which invocations are averaged."""
    spread, count = 0.5, 8
    half_width = stats.t.ppf(0.975, count - 1) * spread / math.sqrt(count)
    quantity = _quantity(*map(scale, (-half_width, 0.0, half_width)), unit=unit, count=count)
    least = next(
        n
        for n in range(6, 1001)
        if (stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)) * spread / math.sqrt(n) <= distance
    )
    assert invocations_needed(quantity, scale(distance)) == least
    assert invocations_needed(quantity, scale(-distance)) == least
    assert invocations_needed(quantity, scale(2 * distance), centre=scale(distance)) == least


def test_a_value_without_spread_on_the_bound_can_never_be_told() -> None:
    """However often it is measured."""
    assert invocations_needed(_quantity(1, 1, 1), 1.0) is None
