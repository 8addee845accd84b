"""Reported quantities: a value with its interval, from a bootstrap that resamples invocations first, then iterations.

Iterations within one process share its memory layout, its page placement and its share of the machine's drift, so
they are not independent; resampling them alone gives intervals that are far too narrow (Kalibera and Jones, "Rigorous
benchmarking in reasonable time", ISMM 2013). The percentile interval is widened for few invocations as in Hesterberg,
"What teachers should know about the bootstrap", The American Statistician 69(4), 2015, section 4.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ablations.errors import AggregationError

CONFIDENCE = 0.95
# Fewer invocations cannot carry a 95 % interval.
MIN_INVOCATIONS = 6
_NUM_RESAMPLES = 10_000
_SEED = 20_211

Samples = Sequence[float]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


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


def estimate(invocations: Sequence[Samples], unit: str, *, quantile: float = 0.5) -> Quantity:
    """Estimate the mean over invocations of a sample quantile.

    Args:
        invocations: the samples of each invocation, none empty.
        unit: of the samples.
        quantile: which quantile of an invocation's samples; the median by default.
    """
    return _estimate([invocations], unit, quantile, lambda means: means[0])


def estimate_ratio(
    numerator: Sequence[Samples], denominator: Sequence[Samples], *, quantile: float = 0.5
) -> Quantity | None:
    """Estimate the ratio of two arms' quantiles, paired by invocation; None where the denominator can be zero."""
    if any(min(samples) <= 0 for samples in denominator):
        return None
    return _estimate([numerator, denominator], "ratio", quantile, lambda means: means[0] / means[1])


def estimate_overhead_pct(
    measured: Sequence[Samples], baseline: Sequence[Samples], *, quantile: float = 0.5
) -> Quantity:
    """Estimate by how many percent one arm's quantile lies above another's, paired by invocation."""
    return _estimate([measured, baseline], "%", quantile, lambda means: 100 * (means[0] / means[1] - 1))


def estimate_difference(
    measured: Sequence[Samples], baseline: Sequence[Samples], unit: str, *, quantile: float = 0.5
) -> Quantity:
    """Estimate the difference of two arms' quantiles, paired by invocation."""
    return _estimate([measured, baseline], unit, quantile, lambda means: means[0] - means[1])


def sample_quantile(samples: Samples, quantile: float) -> float:
    """Return the order statistic at `quantile`: the smallest sample with at least that share at or below it."""
    ordered = np.sort(np.asarray(samples, dtype=float))
    return float(ordered[_rank(len(ordered), quantile) - 1])


def _rank(num_samples: int, quantile: float) -> int:
    return max(1, math.ceil(quantile * num_samples))


def _estimate(
    arms: list[Sequence[Samples]], unit: str, quantile: float, statistic: Callable[[list[Floats]], Floats]
) -> Quantity:
    num_invocations = len(arms[0])
    if (
        num_invocations == 0
        or any(len(arm) != num_invocations for arm in arms)
        or any(not len(s) for arm in arms for s in arm)
    ):
        raise AggregationError("An arm has no samples in some invocation; measure its trials again.")
    points = [np.array([sample_quantile(samples, quantile) for samples in arm]) for arm in arms]
    generator = np.random.default_rng(_SEED)
    picks = generator.integers(num_invocations, size=(_NUM_RESAMPLES, num_invocations))
    means = [_resampled_means(arm, quantile, picks, generator) for arm in arms]
    low, high = _interval(statistic(means), num_invocations)
    value = float(statistic([np.array([point.mean()]) for point in points])[0])
    return Quantity(
        value=value,
        low=min(low, value),
        high=max(high, value),
        unit=unit,
        num_invocations=num_invocations,
        num_samples=min(sum(len(samples) for samples in arm) for arm in arms),
    )


def _resampled_means(
    arm: Sequence[Samples], quantile: float, picks: Integers, generator: np.random.Generator
) -> Floats:
    """Return, for each resample, the mean over its picked invocations of the quantile of their resampled iterations."""
    draws = np.stack([_resampled_quantiles(samples, quantile, generator) for samples in arm])
    columns = generator.integers(_NUM_RESAMPLES, size=picks.shape)
    means: Floats = draws[picks, columns].mean(axis=1)
    return means


def _resampled_quantiles(samples: Samples, quantile: float, generator: np.random.Generator) -> Floats:
    """Draw the order statistic of `_NUM_RESAMPLES` resamples directly.

    The k-th smallest of n uniform draws is Beta(k, n - k + 1) distributed, so the k-th smallest of n samples drawn with
    replacement is the sample at rank floor(n times such a variable): exact, and independent of n in cost.
    """
    ordered = np.sort(np.asarray(samples, dtype=float))
    num_samples = len(ordered)
    rank = _rank(num_samples, quantile)
    uniform = generator.beta(rank, num_samples - rank + 1, _NUM_RESAMPLES)
    drawn: Floats = ordered[np.minimum((uniform * num_samples).astype(int), num_samples - 1)]
    return drawn


def _interval(resampled: Floats, num_invocations: int) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    if num_invocations > 1:
        widening = math.sqrt(num_invocations / (num_invocations - 1))
        tail = float(stats.norm.cdf(widening * stats.t.ppf(tail, num_invocations - 1)))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)
