"""Intervals of numbers that a search only bracketed cover all that the brackets leave open."""

from __future__ import annotations

import numpy as np
import pytest

from ablations.analysis.brackets import Bracket, estimate_bracketed, estimate_bracketed_ratio, read_bracket


def _found(success: int, failure: int | None) -> Bracket:
    return read_bracket({"largest_success": success, "smallest_failure": failure})


@pytest.mark.parametrize(
    ("success", "failure", "expected"),
    [
        (17, 18, (17.0, 17.0, 17.0)),
        (16, 64, (16.0, 32.0, 63.0)),
        (16, None, (16.0, 16.0, 16.0)),
        (0, 10, (0.0, 0.0, 9.0)),
        (0, 1, (0.0, 0.0, 0.0)),
    ],
)
def test_a_bracket_reaches_to_the_last_number_that_did_not_fail(
    success: int, failure: int | None, expected: tuple[float, float, float]
) -> None:
    """Its middle is geometric; where nothing succeeded it is no number of agents."""
    found = _found(success, failure)
    assert (found.low, found.middle, found.high) == pytest.approx(expected)


@pytest.mark.parametrize("num_trials", [6, 60])
def test_more_trials_do_not_narrow_a_bracket_that_all_share(num_trials: int) -> None:
    """Only more probes do."""
    shared = estimate_bracketed([_found(34, 38)] * num_trials, "agents")
    assert (shared.low, shared.high) == (34.0, 37.0)
    assert (shared.num_invocations, shared.unit) == (num_trials, "agents")


def test_a_ratio_covers_its_extremes() -> None:
    """The one number at its least over the other at its most, and the reverse."""
    ratio = estimate_bracketed_ratio([_found(34, 38)] * 6, [_found(22, 25)] * 6)
    assert ratio is not None
    assert (ratio.low, ratio.high) == pytest.approx((34 / 24, 37 / 22))
    assert ratio.low < ratio.value < ratio.high


def test_a_ratio_to_what_never_succeeded_has_no_value() -> None:
    """In one trial is enough, in either arm."""
    some, none = [_found(17, 18)] * 2, [_found(17, 18), _found(0, 10)]
    assert estimate_bracketed_ratio(some, none) is None
    assert estimate_bracketed_ratio(none, some) is None


def test_a_count_is_never_less_than_none() -> None:
    """However widely trials scatter."""
    found = estimate_bracketed([_found(10, 16), _found(10, 16), _found(0, 10), _found(10, 16)], "agents")
    assert found.low == 0.0


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.05])
def test_the_interval_holds_the_truth_at_least_as_often_as_it_says(spread: float) -> None:
    """Trials that scatter by so much, bracketed by one grid of probes; wherever the truth lies in it."""
    generator = np.random.default_rng(5)
    grid = np.array([20, 25, 28, 31, 34, 38, 43, 54])
    held = 0
    for _ in range(400):
        truth = generator.uniform(26, 42)
        places = np.searchsorted(grid, truth * generator.lognormal(0, spread, 6), side="right")
        brackets = [_found(int(grid[place - 1]), int(grid[place])) for place in places]
        quantity = estimate_bracketed(brackets, "agents")
        # Agents are whole: with a truth of 33.7 the largest number that succeeds is 33.
        held += quantity.low <= truth < quantity.high + 1
    assert held / 400 >= 0.94
