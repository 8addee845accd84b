"""Estimates quantities from samples: values with intervals, from a bootstrap that resamples invocations first, then iterations.

Iterations within one process share its memory layout, its page placement and its share of the machine's drift, so
they are not independent; resampling them alone gives intervals that are far too narrow (Kalibera and Jones, "Rigorous
benchmarking in reasonable time", ISMM 2013). Resampling both levels is too wide instead, because the spread between
invocations already holds their iterations' noise (Davison and Hinkley, "Bootstrap methods and their application",
1997, section 3.8), so the bootstrap distribution is rescaled to the spread that invocations showed. The percentile
interval is widened for few invocations as in Hesterberg, "What teachers should know about the bootstrap", The American
Statistician 69(4), 2015, section 4.3.

Every quantity is a mean over invocations of something that one invocation shows. For ratios that is the logarithm of
its own ratio: what an invocation slows, it slows in both arms, and a ratio and its inverse have inverse intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ablations.analysis.quantity import CONFIDENCE, Quantity
from ablations.errors import AggregationError

_NUM_RESAMPLES = 10_000
_SEED = 20_211
# Of the rounds, at each end.
_TRIMMED = 0.25
# Invocations agree so closely that their iterations' noise would allow it once in a hundred times.
_CHANCE_AGREEMENT = 0.01

Samples = Sequence[float]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def estimate(invocations: Sequence[Samples], unit: str, *, quantile: float = 0.5) -> Quantity:
    """Estimate the mean over invocations of a sample quantile.

    Args:
        invocations: the samples of each invocation, none empty.
        unit: of the samples.
        quantile: which quantile of an invocation's samples; the median by default.

    Raises:
        AggregationError: an invocation without samples.
    """
    (points, draws), count = _quantiles([invocations], quantile)
    return _quantity(points[0], draws[0], unit, count)


def estimate_ratio(
    numerator: Sequence[Samples], denominator: Sequence[Samples], *, quantile: float = 0.5
) -> Quantity | None:
    """Estimate the ratio of two arms' quantiles, paired by invocation; None where either can be zero.

    Raises:
        AggregationError: an invocation without samples, or arms of different numbers of invocations.
    """
    if any(min(samples, default=1.0) <= 0 for arm in (numerator, denominator) for samples in arm):
        return None
    (points, draws), count = _quantiles([numerator, denominator], quantile)
    return _quantity(np.log(points[0] / points[1]), np.log(draws[0] / draws[1]), "ratio", count, np.exp)


def estimate_overhead_pct(
    measured: Sequence[Samples], baseline: Sequence[Samples], *, quantile: float = 0.5
) -> Quantity:
    """Estimate by how many percent one arm's quantile lies above another's, paired by invocation.

    Raises:
        AggregationError: an invocation without samples, or arms of different numbers of invocations.
    """
    (points, draws), count = _quantiles([measured, baseline], quantile)
    return _quantity(np.log(points[0] / points[1]), np.log(draws[0] / draws[1]), "%", count, _excess_pct)


def estimate_difference(
    measured: Sequence[Samples], baseline: Sequence[Samples], unit: str, *, quantile: float = 0.5
) -> Quantity:
    """Estimate the difference of two arms' quantiles, paired by invocation.

    Raises:
        AggregationError: an invocation without samples, or arms of different numbers of invocations.
    """
    (points, draws), count = _quantiles([measured, baseline], quantile)
    return _quantity(points[0] - points[1], draws[0] - draws[1], unit, count)


def estimate_overhead_by_rounds_pct(
    measured: Sequence[Samples], baseline: Sequence[Samples], *, blocks: tuple[int, int]
) -> Quantity:
    """Estimate by how many percent one arm lies above another that took turns with it, paired by invocation and round.

    The two blocks of a round lie milliseconds apart, so drift within an invocation cancels in the ratio of their
    medians. An invocation's value is the mean of the middle half of its rounds' logarithms, because a round in which
    something else ran says nothing of either arm; rounds are what is resampled within an invocation.

    Args:
        measured, baseline: the samples of each invocation, in order; rounds that only one arm has are left out.
        blocks: samples of a round, in each arm.

    Raises:
        AggregationError: an invocation without a whole round, or arms of different numbers of invocations.
    """
    ratios = [_round_ratios(*arms, blocks) for arms in zip(measured, baseline, strict=False)]
    if len(measured) != len(baseline) or not ratios or not all(map(len, ratios)):
        raise AggregationError("An arm has no whole round in some invocation; measure its trials again.")
    points = np.array([_middle_mean(rounds) for rounds in ratios])
    generator = np.random.default_rng(_SEED)
    draws = np.stack([_resampled_trimmed_means(rounds, generator) for rounds in ratios])
    count = min(sum(map(len, arm)) for arm in (measured, baseline))
    return _quantity(points, draws, "%", count, _excess_pct)


def sample_quantile(samples: Samples, quantile: float) -> float:
    """Return the order statistic at `quantile`: the smallest sample with at least that share at or below it."""
    ordered = np.sort(np.asarray(samples, dtype=float))
    return float(ordered[_rank(len(ordered), quantile) - 1])


def _rank(num_samples: int, quantile: float) -> int:
    return max(1, math.ceil(quantile * num_samples))


def _excess_pct(logarithms: Floats) -> Floats:
    excess: Floats = 100 * np.expm1(logarithms)
    return excess


def _quantiles(arms: list[Sequence[Samples]], quantile: float) -> tuple[tuple[list[Floats], list[Floats]], int]:
    """Return each arm's quantiles, by invocation, and resamples of them; and how many samples the smaller arm has."""
    num_invocations = len(arms[0])
    if (
        num_invocations == 0
        or any(len(arm) != num_invocations for arm in arms)
        or any(not len(samples) for arm in arms for samples in arm)
    ):
        raise AggregationError("An arm has no samples in some invocation; measure its trials again.")
    generator = np.random.default_rng(_SEED)
    points = [np.array([sample_quantile(samples, quantile) for samples in arm]) for arm in arms]
    draws = [np.stack([_resampled_quantiles(samples, quantile, generator) for samples in arm]) for arm in arms]
    return (points, draws), min(sum(map(len, arm)) for arm in arms)


def _quantity(
    points: Floats, draws: Floats, unit: str, num_samples: int, shown: Callable[[Floats], Floats] = np.asarray
) -> Quantity:
    """Return the mean over invocations with its interval.

    Args:
        points: what each invocation showed.
        draws: resamples of that within each invocation, one row each.
        unit: of what is shown.
        num_samples: that went in.
        shown: turns means into the unit.
    """
    value, low, high = shown(np.array([points.mean(), *_interval(points, draws)]))
    return Quantity(
        value=float(value),
        low=float(min(low, value)),
        high=float(max(high, value)),
        unit=unit,
        num_invocations=len(points),
        num_samples=num_samples,
    )


def _interval(points: Floats, draws: Floats) -> tuple[float, float]:
    # Imported where it is needed: whoever only reads quantities starts in half the time without it.
    from scipy import special

    num_invocations = len(points)
    generator = np.random.default_rng(_SEED + 1)
    picks = generator.integers(num_invocations, size=(_NUM_RESAMPLES, num_invocations))
    columns = generator.integers(_NUM_RESAMPLES, size=picks.shape)
    means = draws[picks, columns].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    if num_invocations > 1:
        means = _rescaled(means, points, draws)
        widening = math.sqrt(num_invocations / (num_invocations - 1))
        tail = float(special.ndtr(widening * special.stdtrit(num_invocations - 1, tail)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _rescaled(means: Floats, points: Floats, draws: Floats) -> Floats:
    """Give the bootstrap distribution the spread that invocations showed, and keep its shape.

    Invocations that agree more closely than their own iterations allow did so by chance; then the iterations' spread stays.
    """
    from scipy import special

    num_invocations = len(points)
    between, within = float(points.var(ddof=1)), float(draws.var(axis=1).mean())
    least = within * float(special.chdtri(num_invocations - 1, 1 - _CHANCE_AGREEMENT)) / (num_invocations - 1)
    spread = float(means.std())
    if between < least or spread == 0:
        return means
    # The plain bootstrap's standard error, which the widening expects.
    wanted = math.sqrt(between * (num_invocations - 1)) / num_invocations
    rescaled: Floats = points.mean() + (means - means.mean()) * (wanted / spread)
    return rescaled


def _round_ratios(measured: Samples, baseline: Samples, blocks: tuple[int, int]) -> Floats:
    """Return the logarithm of the ratio of block medians in each round that both arms have."""
    num_rounds = min(len(measured) // blocks[0], len(baseline) // blocks[1])
    medians = [
        np.median(np.reshape(np.asarray(samples, dtype=float)[: num_rounds * block], (num_rounds, block)), axis=1)
        for samples, block in zip((measured, baseline), blocks, strict=True)
    ]
    ratios: Floats = np.log(medians[0] / medians[1])
    return ratios


def _resampled_trimmed_means(rounds: Floats, generator: np.random.Generator) -> Floats:
    picked = rounds[generator.integers(len(rounds), size=(_NUM_RESAMPLES, len(rounds)))]
    return _middle_mean(picked)


def _middle_mean(values: Floats) -> Floats:
    """Return the trimmed mean along the last axis, as `scipy.stats.trim_mean`, which takes a second to load, returns it."""
    num_values = values.shape[-1]
    num_trimmed = int(_TRIMMED * num_values)
    means: Floats = np.sort(values, axis=-1)[..., num_trimmed : num_values - num_trimmed].mean(axis=-1)
    return means


def _resampled_quantiles(samples: Samples, quantile: float, generator: np.random.Generator) -> Floats:
    """Draw the order statistic of `_NUM_RESAMPLES` resamples directly.

    The k-th smallest of n uniform draws is Beta(k, n - k + 1) distributed, so the k-th smallest of n samples drawn with
    replacement is the sample at rank floor(n times such a variable): exact, and independent of n in cost.
    """
    ordered = np.sort(np.asarray(samples, dtype=float))
    num_samples = len(ordered)
    if num_samples == 1:
        return np.full(_NUM_RESAMPLES, ordered[0])
    rank = _rank(num_samples, quantile)
    uniform = generator.beta(rank, num_samples - rank + 1, _NUM_RESAMPLES)
    drawn: Floats = ordered[np.minimum((uniform * num_samples).astype(int), num_samples - 1)]
    return drawn
