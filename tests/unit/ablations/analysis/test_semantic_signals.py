"""What the signal study reports: shares of probes with exact intervals."""

from __future__ import annotations

import pytest
from scipy import stats

from ablations.analysis import semantic_signals


@pytest.mark.parametrize(("successes", "count"), [(0, 1), (1, 1), (0, 6), (2, 6), (6, 6), (11, 12)])
def test_a_shares_interval_is_scipys(successes: int, count: int) -> None:
    """At both ends, where nothing or everything succeeded too."""
    expected = stats.binomtest(successes, count).proportion_ci(0.95)
    assert semantic_signals._binomial_interval(successes, count) == pytest.approx((expected.low, expected.high))
