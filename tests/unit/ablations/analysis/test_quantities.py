"""Intervals: known answers, coverage on synthetic truth, and agreement with SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ablations.analysis.quantities import (
    estimate,
    estimate_difference,
    estimate_overhead_pct,
    estimate_ratio,
    sample_quantile,
)
from ablations.errors import AggregationError


def _invocations(generator: np.random.Generator, centre: float, *, count: int = 6, size: int = 60) -> list[list[float]]:
    """Draw samples with a shift for each invocation, as processes on one machine have."""
    shifts = generator.normal(0, 2, count)
    return [list(generator.normal(centre + shift, 5, size)) for shift in shifts]


def test_constant_samples_have_a_point_for_an_interval() -> None:
    """No noise, no width."""
    quantity = estimate([[3.0] * 5] * 6, "us")
    assert (quantity.value, quantity.low, quantity.high) == (3.0, 3.0, 3.0)
    assert (quantity.num_invocations, quantity.num_samples, quantity.unit) == (6, 30, "us")


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """95 % of intervals contain the true centre although invocations differ; resampling iterations alone would not."""
    generator = np.random.default_rng(1)
    num_covered = 0
    for _ in range(300):
        quantity = estimate(_invocations(generator, 100.0), "us")
        num_covered += quantity.low <= 100.0 <= quantity.high
    assert 0.92 <= num_covered / 300 <= 0.99


def test_it_agrees_with_the_t_interval_of_the_invocations() -> None:
    """With many iterations only invocations matter, and there the t interval is exact."""
    generator = np.random.default_rng(2)
    for _ in range(5):
        invocations = _invocations(generator, 50.0, count=8, size=4000)
        medians = [np.median(samples) for samples in invocations]
        exact = stats.t.interval(0.95, 7, np.mean(medians), stats.sem(medians))
        quantity = estimate(invocations, "us")
        assert quantity.low == pytest.approx(exact[0], abs=0.35 * (exact[1] - exact[0]))
        assert quantity.high == pytest.approx(exact[1], abs=0.35 * (exact[1] - exact[0]))


def test_pairing_cancels_what_both_arms_share() -> None:
    """Arms of one process drift together; their ratio is far surer than either."""
    generator = np.random.default_rng(3)
    drifts = generator.uniform(0.5, 2.0, 6)
    slow = [list(110.0 * drift + generator.normal(0, 0.1, 50)) for drift in drifts]
    fast = [list(100.0 * drift + generator.normal(0, 0.1, 50)) for drift in drifts]
    ratio = estimate_ratio(slow, fast)
    assert ratio is not None
    assert ratio.low <= 1.1 <= ratio.high
    assert ratio.high - ratio.low < 0.02
    alone = estimate(slow, "us")
    assert (alone.high - alone.low) / alone.value > 0.3


def test_equal_arms_show_no_overhead() -> None:
    """Native against native: the interval contains zero."""
    generator = np.random.default_rng(4)
    arms = [_invocations(generator, 100.0) for _ in range(2)]
    overhead = estimate_overhead_pct(*arms)
    assert overhead.low < 0 < overhead.high
    assert overhead.unit == "%"


def test_differences_and_overheads_have_the_right_sign() -> None:
    """Swapped arms swap the sign."""
    slow, fast = [[11.0] * 5] * 6, [[10.0] * 5] * 6
    assert estimate_difference(slow, fast, "us").value == pytest.approx(1.0)
    assert estimate_difference(fast, slow, "us").value == pytest.approx(-1.0)
    assert estimate_overhead_pct(slow, fast).value == pytest.approx(10.0)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_quantiles_are_numpys_order_statistics(samples: list[float], quantile: float) -> None:
    """The definition is NumPy's inverted distribution function."""
    assert sample_quantile(samples, quantile) == np.quantile(samples, quantile, method="inverted_cdf")


@given(st.lists(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=20), min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_the_value_lies_in_its_interval(invocations: list[list[float]]) -> None:
    """And results are the same at every call."""
    quantity = estimate(invocations, "us")
    assert quantity.low <= quantity.value <= quantity.high
    assert estimate(invocations, "us") == quantity


def test_few_invocations_are_underpowered_and_wide() -> None:
    """Three cannot carry what six can."""
    generator = np.random.default_rng(5)
    invocations = _invocations(generator, 100.0)
    three, six = estimate(invocations[:3], "us"), estimate(invocations, "us")
    assert three.is_underpowered
    assert not six.is_underpowered


def test_a_ratio_to_zero_is_no_number() -> None:
    """Nothing is invented where a mode never succeeded."""
    assert estimate_ratio([[2.0]], [[0.0]]) is None


def test_an_empty_arm_is_refused() -> None:
    """An arm without samples cannot be reported."""
    with pytest.raises(AggregationError, match="no samples"):
        estimate([[1.0], []], "us")
