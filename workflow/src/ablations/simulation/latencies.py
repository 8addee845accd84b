"""A histogram of latencies with logarithmic bins: quantiles of any number of samples in memory that does not grow with them."""

from __future__ import annotations

import math

# Bins are 0.2 % wide, so that a quantile is off by at most 0.1 %; a few thousand bins span microseconds to hours.
_LOG_WIDTH = math.log(1.002)
_SCALE = 1 / _LOG_WIDTH
_SMALLEST_S = 1e-9


class LatencyHistogram:
    """Counts latencies in seconds by order of magnitude."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.num_samples = 0
        self.total_s = 0.0

    def add(self, latency_s: float) -> None:
        """Count one latency."""
        place = int(math.log(latency_s if latency_s > _SMALLEST_S else _SMALLEST_S) * _SCALE // 1)
        counts = self._counts
        counts[place] = counts.get(place, 0) + 1
        self.num_samples += 1
        self.total_s += latency_s

    def quantile_s(self, quantile: float) -> float:
        """Return the smallest latency with at least that share of samples at or below it, 0.1 % off at most; 0 for none."""
        wanted = max(1, math.ceil(quantile * self.num_samples))
        seen = 0
        for place in sorted(self._counts):
            seen += self._counts[place]
            if seen >= wanted:
                return math.exp((place + 0.5) * _LOG_WIDTH)
        return 0.0
