"""Runs report what happened, and the search for the largest number finds it from wherever it starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ablations.simulation.latencies import LatencyHistogram
from ablations.simulation.runs import largest_crowd, largest_success, run_open, run_together
from ablations.simulation.scenario import ORACLE, POLICIES


@pytest.mark.parametrize("start", [0.3, 1, 7, 36, 37, 38, 500])
@pytest.mark.parametrize("largest", [0, 1, 37])
def test_the_largest_number_is_found_from_anywhere(start: float, largest: int) -> None:
    """The prediction only decides how long it takes."""
    assert largest_success(lambda number: number <= largest, start, 0.0) == largest


def test_nothing_caps_the_search() -> None:
    """Least of all its start."""
    assert largest_success(lambda number: number <= 1_000_003, 1, 0.0) == 1_000_003


def test_the_resolution_is_kept() -> None:
    """Relative to the answer."""
    found = largest_success(lambda number: number <= 10_000, 300, 0.02)
    assert 9_800 <= found <= 10_000


@pytest.mark.parametrize(("start", "most"), [(10_000, 2), (9_900, 3), (10_150, 3), (8_000, 9), (20_000, 14)])
def test_a_good_prediction_is_confirmed_by_few_runs(start: int, most: int) -> None:
    """Two, where it is within the resolution: one that succeeds and one that does not."""
    tried: list[int] = []

    def succeeds(number: int) -> bool:
        tried.append(number)
        return number <= 10_000

    assert 9_800 <= largest_success(succeeds, start, 0.02) <= 10_000
    assert len(tried) <= most


def test_quantiles_are_as_good_as_their_bins() -> None:
    """A tenth of a percent, over five orders of magnitude."""
    samples = np.random.default_rng(1).lognormal(0, 2, 20_000)
    histogram = LatencyHistogram()
    for sample in samples:
        histogram.add(float(sample))
    for quantile in (0.01, 0.5, 0.99, 1.0):
        exact = float(np.quantile(samples, quantile, method="inverted_cdf"))
        assert histogram.quantile_s(quantile) == pytest.approx(exact, rel=0.0011)
    assert LatencyHistogram().quantile_s(0.99) == 0.0


def test_without_eviction_memory_is_the_limit(make_scenario: Any) -> None:
    """Exactly as many agents as slots."""
    scenario = make_scenario("none", slots=5, wait_max_s=20.0)
    assert largest_crowd(scenario, 1, resolution=0.0) == 5
    assert run_together(scenario, 6, 1).outcome == "out_of_memory"


def test_one_agent_that_misses_the_objective_is_no_crowd(make_scenario: Any) -> None:
    """Although stopping lets its last phase end."""
    scenario = make_scenario("none", steady_phases=1, step_s=2.0, latency_objective_s=1.0)
    assert run_together(scenario, 1, 1).outcome == "latency"
    assert largest_crowd(scenario, 1, resolution=0.0) == 0


def test_no_policy_beats_the_oracle(make_scenario: Any) -> None:
    """Beyond the resolution of the search."""
    found = {
        policy: largest_crowd(
            make_scenario(
                policy, slots=8, wait_max_s=20.0, swap_out_s=0.1, swap_in_s=0.1, delta_out_s=0.01, estimate_error=0.2
            ),
            3,
            resolution=0.02,
        )
        for policy in (*POLICIES, ORACLE)
    }
    for policy in POLICIES:
        assert found[policy] <= 1.03 * found[ORACLE] + 1, found


def test_little_s_law_holds_for_agents_that_come_and_leave(make_scenario: Any) -> None:
    """Agents alive are the configured rate times the mean lifetime, within the error of sampling."""
    scenario = make_scenario("proactive", slots=64, wait_max_s=20.0, arrivals_per_s=2.0)
    outcome = run_open(scenario, 20_000, 5)
    assert outcome.num_finished == 20_000
    assert outcome.mean_alive == pytest.approx(scenario.arrivals_per_s * outcome.mean_lifetime_s, rel=0.03)


def test_an_open_run_goes_on_without_those_who_find_no_memory(make_scenario: Any) -> None:
    """They are counted."""
    outcome = run_open(make_scenario("none", slots=2), 500, 1)
    assert outcome.num_rejected > 0
    assert outcome.num_finished + outcome.num_rejected == 500
    assert outcome.outcome == "out_of_memory"


def test_the_oracle_is_told_what_will_be(make_scenario: Any) -> None:
    """It differs from its policy by the estimates alone."""
    rough, exact = (
        run_together(make_scenario(policy, slots=4, wait_max_s=20.0, estimate_error=error), 30, 1)
        for policy, error in (("proactive_plus", 0.5), (ORACLE, 0.5))
    )
    told = run_together(make_scenario("proactive_plus", slots=4, wait_max_s=20.0, estimate_error=0.0), 30, 1)
    assert exact == told
    assert exact != rough
