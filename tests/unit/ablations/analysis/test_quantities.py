"""Intervals: known answers, coverage on synthetic truth, and agreement with SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ablations.analysis import quantities
from ablations.analysis.quantities import (
    estimate,
    estimate_difference,
    estimate_overhead_by_rounds_pct,
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


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for a thousand intervals of which only their coverage counts."""
    monkeypatch.setattr(quantities, "_NUM_RESAMPLES", 2000)


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize(
    ("shift", "noise", "size"),
    [(2.0, 5.0, 60), (0.0, 5.0, 60), (2.0, 0.1, 60), (0.5, 5.0, 9)],
    ids=["both", "iterations alone", "invocations alone", "few iterations"],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(shift: float, noise: float, size: int) -> None:
    """95 % of intervals contain the true centre, wherever the noise comes from."""
    generator = np.random.default_rng(1)
    samples = 100 + generator.normal(0, shift, (1000, 6, 1)) + generator.normal(0, noise, (1000, 6, size))
    num_covered = 0
    for invocations in samples:
        quantity = estimate(invocations, "us")
        num_covered += quantity.low <= 100.0 <= quantity.high
    assert 0.92 <= num_covered / 1000 <= 0.98


@pytest.mark.usefixtures("few_resamples")
def test_an_overhead_by_rounds_covers_the_truth_in_spite_of_drift() -> None:
    """Both arms drift together by a third within an invocation; 7 % more stays 7 % more."""
    generator = np.random.default_rng(6)
    rounds, block = 12, 5
    num_covered, widths = 0, []
    for _ in range(1000):
        drift = np.cumsum(generator.normal(0, 0.1, (6, rounds, 1)), axis=1)
        true_pct = generator.normal(7.0, 1.0, (6, 1, 1))
        baseline = np.exp(drift + generator.normal(0, 0.05, (6, rounds, block)))
        measured = (1 + true_pct / 100) * np.exp(drift + generator.normal(0, 0.05, (6, rounds, block)))
        arms = measured.reshape(6, -1), baseline.reshape(6, -1)
        quantity = estimate_overhead_by_rounds_pct(*arms, blocks=(block, block))
        num_covered += quantity.low <= 7.0 <= quantity.high
        widths.append(quantity.high - quantity.low)
    unpaired = estimate_overhead_pct(*arms)
    assert 0.92 <= num_covered / 1000 <= 0.98
    assert np.median(widths) < 0.7 * (unpaired.high - unpaired.low)


def test_a_disturbed_round_decides_nothing() -> None:
    """Whatever else ran in it, the other rounds stand."""
    baseline = [[10.0] * 40] * 6
    measured = [[11.0] * 35 + [1000.0] * 5] * 6
    quantity = estimate_overhead_by_rounds_pct(measured, baseline, blocks=(5, 5))
    assert quantity.value == pytest.approx(10.0)
    assert quantity.low == pytest.approx(10.0)


def test_rounds_that_one_arm_lacks_are_left_out() -> None:
    """A cold call takes part in the first rounds only, one call to a block of another's."""
    quantity = estimate_overhead_by_rounds_pct([[20.0, 20.0]] * 6, [[10.0] * 6 + [50.0] * 6] * 6, blocks=(1, 3))
    assert quantity.value == pytest.approx(100.0)
    with pytest.raises(AggregationError, match="no whole round"):
        estimate_overhead_by_rounds_pct([[20.0]] * 6, [[10.0] * 2] * 6, blocks=(1, 3))


def test_it_agrees_with_the_t_interval_of_the_invocations() -> None:
    """The t interval of the invocations' medians is exact for normal shifts; ours differs by its skewness alone."""
    generator = np.random.default_rng(2)
    for size in (40, 4000):
        invocations = _invocations(generator, 50.0, count=8, size=size)
        medians = [sample_quantile(samples, 0.5) for samples in invocations]
        exact = stats.t.interval(0.95, 7, np.mean(medians), stats.sem(medians))
        quantity = estimate(invocations, "us")
        assert quantity.low == pytest.approx(exact[0], abs=0.1 * (exact[1] - exact[0]))
        assert quantity.high == pytest.approx(exact[1], abs=0.1 * (exact[1] - exact[0]))


@pytest.mark.parametrize("count", [1, 30])
def test_it_agrees_with_scipys_bootstrap(count: int) -> None:
    """BCa knows one level: the iterations of one invocation, or invocations of one iteration each."""
    generator = np.random.default_rng(8)
    samples = generator.gamma(4.0, 10.0, 400 if count == 1 else count)
    invocations = [samples] if count == 1 else samples[:, None]
    statistic = np.median if count == 1 else np.mean
    exact = stats.bootstrap((samples,), statistic, method="BCa", rng=generator).confidence_interval
    quantity = estimate(invocations, "us")
    assert quantity.low == pytest.approx(exact.low, abs=0.1 * (exact.high - exact.low))
    assert quantity.high == pytest.approx(exact.high, abs=0.1 * (exact.high - exact.low))


def test_invocations_that_agree_by_chance_keep_the_spread_of_their_iterations() -> None:
    """Six equal medians of scattered samples are no certainty."""
    quantity = estimate([[40.0, 41.0, 42.0, 43.0, 44.0]] * 6, "agents")
    assert quantity.high - quantity.low > 1


def test_a_ratio_and_its_inverse_have_inverse_intervals() -> None:
    """Neither arm is privileged."""
    generator = np.random.default_rng(9)
    arms = _invocations(generator, 100.0), _invocations(generator, 50.0)
    ratio, inverse = estimate_ratio(*arms), estimate_ratio(*reversed(arms))
    assert ratio is not None
    assert inverse is not None
    assert ratio.value == pytest.approx(1 / inverse.value)
    assert ratio.low == pytest.approx(1 / inverse.high, rel=0.01)


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


def test_units_are_those_of_what_is_estimated() -> None:
    """A ratio is one also where an arm lies below one."""
    half = estimate_ratio([[0.5, 0.5]] * 6, [[1.0, 1.0]] * 6)
    assert half is not None
    assert (half.value, half.unit, half.num_samples) == (0.5, "ratio", 12)
    assert estimate_difference([[2.0]], [[1.0]], "us").unit == "us"
    assert estimate_overhead_by_rounds_pct([[2.0]], [[1.0]], blocks=(1, 1)).unit == "%"


def test_whole_numbers_are_samples_too() -> None:
    """As counts of agents and sessions are."""
    assert estimate([[40, 41, 42]] * 6, "agents") == estimate([[40.0, 41.0, 42.0]] * 6, "agents")


def test_a_ratio_of_an_arm_without_samples_is_refused() -> None:
    """As every other comparison is."""
    with pytest.raises(AggregationError, match="no samples"):
        estimate_ratio([[1.0], []], [[1.0], [1.0]])


def test_an_overhead_by_rounds_is_the_same_at_every_call() -> None:
    """Down to the last digit: aggregates of the same trials are the same bytes."""
    arms = _invocations(np.random.default_rng(5), 10.0), _invocations(np.random.default_rng(6), 10.0)
    again = [estimate_overhead_by_rounds_pct(*arms, blocks=(5, 5)) for _ in range(2)]
    assert again[0] == again[1]


def test_arms_of_unequal_invocations_are_refused_by_rounds_too() -> None:
    """Nothing is paired with nothing."""
    with pytest.raises(AggregationError, match="An arm has no whole round"):
        estimate_overhead_by_rounds_pct([[1.0]] * 2, [[1.0]] * 3, blocks=(1, 1))


@pytest.mark.parametrize("num_rounds", [1, 2, 3, 4, 7, 50])
def test_the_middle_mean_is_scipys_trimmed_mean(num_rounds: int) -> None:
    """It is written out because loading `scipy.stats` takes longer than all else."""
    values = np.random.default_rng(num_rounds).normal(size=(3, num_rounds))
    assert quantities._middle_mean(values) == pytest.approx(stats.trim_mean(values, 0.25, axis=-1), abs=1e-12)
