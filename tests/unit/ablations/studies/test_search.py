"""The search finds any boundary, is not capped by its start, and says when its budget was too small."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.studies.search import Boundary, Outcome, find_boundary


def _sharp(truth: int) -> Callable[[int], Outcome]:
    """Return a probe that succeeds up to a number and says no more."""
    return lambda number: Outcome(number <= truth)


def _require_found(found: Boundary, truth: int) -> None:
    assert not found.is_budget_hit
    assert found.smallest_failure is not None
    assert found.largest_success <= truth < found.smallest_failure
    assert found.smallest_failure - found.largest_success <= max(1, 0.05 * found.largest_success)


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_sharp_boundary_is_found_from_any_start(truth: int, start: int) -> None:
    """Above and below the prediction, exactly or within the tolerance."""
    _require_found(find_boundary(_sharp(truth), start=start, max_probes=60), truth)


@given(st.integers(0, 300), st.integers(1, 300), st.integers(1, 300))
def test_what_is_known_changes_no_answer(truth: int, start: int, number: int) -> None:
    """A sharp boundary is found from wherever something was tried before."""
    known = number, _sharp(truth)(number)
    _require_found(find_boundary(_sharp(truth), start=start, max_probes=60, known=known), truth)


@given(st.integers(0, 300), st.integers(1, 300), st.lists(st.none() | st.floats(0, 1e6), min_size=60, max_size=60))
def test_estimates_that_are_wrong_change_no_answer(truth: int, start: int, estimates: list[float | None]) -> None:
    """They are where to look, and what is found there decides."""
    remaining = iter(estimates)
    found = find_boundary(lambda number: Outcome(number <= truth, next(remaining)), start=start, max_probes=60)
    if not found.is_budget_hit:
        _require_found(found, truth)
    assert found.largest_success <= truth < (found.smallest_failure or 1e9)


def test_the_prediction_is_no_cap() -> None:
    """A start far too low ends far above it."""
    assert find_boundary(_sharp(1000), start=2, max_probes=40).largest_success >= 950


def test_a_small_budget_is_reported() -> None:
    """An open bracket is not passed off as a result."""
    found = find_boundary(_sharp(100), start=1, max_probes=3)
    assert found.is_budget_hit
    assert found.smallest_failure is None


@pytest.mark.parametrize("seed", range(5))
def test_noise_moves_the_boundary_little(seed: int) -> None:
    """With success that fades from 40 to 60, the answer lies between."""
    generator = random.Random(seed)
    found = find_boundary(lambda number: Outcome(generator.uniform(40, 60) >= number), start=30, max_probes=40)
    assert 30 <= found.largest_success <= 60


def test_the_budget_is_kept() -> None:
    """No probe more than allowed."""
    calls: list[int] = []
    _recorded(calls, 77, start=3, max_probes=7)
    assert len(calls) <= 7


@pytest.mark.parametrize("truth", [15, 19, 22, 26])
def test_good_estimates_close_the_bracket_with_four_probes(truth: int) -> None:
    """Responses as in a full server, in which they grow by a constant for each agent; from a prediction of 22.

    Without estimates it takes more.
    """
    full = _full_server(truth)
    found = find_boundary(full, start=22, max_probes=4, known=(8, Outcome(is_success=True, estimate=9.0)))
    assert found.largest_success <= truth < (found.smallest_failure or 0)
    assert not found.is_budget_hit
    known = 8, Outcome(is_success=True)
    assert find_boundary(_sharp(truth), start=22, max_probes=4, known=known).is_budget_hit or truth == 22


def test_the_last_probe_confirms_nothing() -> None:
    """What it refuted could not be looked for any more: the bracket would be open after it."""
    tries = iter([True, False, False])
    found = find_boundary(lambda number: Outcome(next(tries)), start=9, max_probes=3, known=(2, Outcome(True)))
    assert (found.largest_success, found.smallest_failure) == (9, 10)


@pytest.mark.parametrize(
    ("known", "truth", "first"),
    [
        ((8, True), 10, [22, 13, 10]),  # halved between what is known and the prediction that failed
        ((30, True), 40, [33]),  # the prediction is known to succeed, and is not tried
        ((8, False), 6, [7]),  # nor where it is known to fail
        ((40, False), 23, [22, 24]),  # far above the prediction it says nothing
    ],
)
def test_what_is_known_saves_probes(known: tuple[int, bool], truth: int, first: list[int]) -> None:
    """With a prediction of 22."""
    calls: list[int] = []
    _recorded(calls, truth, start=22, max_probes=10, known=(known[0], Outcome(known[1])))
    assert calls[: len(first)] == first


def test_a_search_without_a_success_has_no_middle() -> None:
    """It says nothing of where one is."""
    found = find_boundary(_sharp(0), start=20, max_probes=2)
    assert found.smallest_failure is not None
    assert found.largest_success == found.middle == 0


def _recorded(calls: list[int], truth: int, **search: object) -> Boundary:
    def probe(number: int) -> Outcome:
        calls.append(number)
        return Outcome(number <= truth)

    return find_boundary(probe, **search)  # type: ignore[arg-type]


def _full_server(truth: int) -> Callable[[int], Outcome]:
    """Return a probe of agents that wait for 1.5 s and are to be answered within 0.9 s, up to `truth` of them."""
    wait_s, allowed_s = 1.5, 0.9
    service_s = (wait_s + allowed_s) / (truth + 0.5)

    def probe(number: int) -> Outcome:
        response_s = max(0.15, number * service_s - wait_s)
        return Outcome(response_s <= allowed_s, number * (wait_s + allowed_s) / (wait_s + response_s))

    return probe
