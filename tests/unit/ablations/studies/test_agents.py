"""Agents do the same in every mode and for every number of agents."""

from __future__ import annotations

from ablations.settings import SemanticSignals, load_config
from ablations.studies.agents import draw_traces


def _study() -> SemanticSignals:
    return load_config().studies.semantic_signals


def test_the_first_agents_are_the_same_for_every_number() -> None:
    """Probes of different sizes are comparable."""
    few, many = draw_traces(_study(), 3, 7), draw_traces(_study(), 9, 7)
    assert many[:3] == few


def test_waits_and_estimates_stay_in_their_ranges() -> None:
    """Waits between the limits, estimates within the configured error, arrivals in order."""
    study = _study()
    traces = draw_traces(study, 50, 7)
    for trace in traces:
        for wait_s, estimate_s in zip(trace.waits_s, trace.estimates_s, strict=True):
            assert study.wait_min_s <= wait_s <= study.wait_max_s
            assert abs(estimate_s / wait_s - 1) <= study.estimate_error
    arrivals = [trace.arrival_s for trace in traces]
    assert arrivals == sorted(arrivals)


def test_seeds_differ() -> None:
    """Trials meet different arrivals."""
    assert draw_traces(_study(), 3, 7) != draw_traces(_study(), 3, 8)
