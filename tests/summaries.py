"""Summaries of trials of whose samples every reported number can be told beforehand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

NUM_TRIALS = 2


def samples_of(value: float) -> list[float]:
    """Return ten samples whose median is a value and whose 99th percentile is three times that."""
    return [value] * 9 + [3 * value]


def summarise(study: Any, samples: dict[str, dict[str, Any]], **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return value and unit of each quantity that a study reports, and its series; every trial has the same samples."""
    trials = SimpleNamespace(
        variants=sorted(samples), settings=settings, samples=lambda variant: [samples[variant]] * NUM_TRIALS
    )
    quantities, series = study.summarise(trials)
    return {name: one and (float(f"{one.value:.9g}"), one.unit) for name, one in quantities.items()}, series
