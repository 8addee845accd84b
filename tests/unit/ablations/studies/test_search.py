"""The search finds any boundary, is not capped by its start, and says when its budget was too small."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.studies.search import find_boundary


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_sharp_boundary_is_found_from_any_start(truth: int, start: int) -> None:
    """Above and below the prediction, exactly or within the tolerance."""
    found = find_boundary(lambda number: number <= truth, start=start, max_probes=60)
    assert not found.is_budget_hit
    assert found.smallest_failure is not None
    assert found.largest_success <= truth < found.smallest_failure
    assert found.smallest_failure - found.largest_success <= max(1, 0.05 * found.largest_success)


def test_the_prediction_is_no_cap() -> None:
    """A start far too low ends far above it."""
    assert find_boundary(lambda number: number <= 1000, start=2, max_probes=40).largest_success >= 950


def test_a_small_budget_is_reported() -> None:
    """An open bracket is not passed off as a result."""
    found = find_boundary(lambda number: number <= 100, start=1, max_probes=3)
    assert found.is_budget_hit
    assert found.smallest_failure is None


@pytest.mark.parametrize("seed", range(5))
def test_noise_moves_the_boundary_little(seed: int) -> None:
    """With success that fades from 40 to 60, the answer lies between."""
    generator = random.Random(seed)
    found = find_boundary(lambda number: generator.uniform(40, 60) >= number, start=30, max_probes=40)
    assert 30 <= found.largest_success <= 60


def test_the_budget_is_kept() -> None:
    """No probe more than allowed."""
    calls = []
    find_boundary(lambda number: bool(calls.append(number)) or number <= 77, start=3, max_probes=7)
    assert len(calls) <= 7


@given(st.integers(0, 300), st.integers(1, 300), st.integers(1, 300))
def test_what_is_known_changes_no_answer(truth: int, start: int, number: int) -> None:
    """A sharp boundary is found from wherever something was tried before."""
    found = find_boundary(lambda number: number <= truth, start=start, max_probes=60, known=(number, number <= truth))
    assert found.smallest_failure is not None
    assert found.largest_success <= truth < found.smallest_failure


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

    def succeeds(number: int) -> bool:
        calls.append(number)
        return number <= truth

    find_boundary(succeeds, start=22, max_probes=10, known=known)
    assert calls[: len(first)] == first


def test_a_search_without_a_success_has_no_middle() -> None:
    """It says nothing of where one is."""
    found = find_boundary(lambda number: False, start=20, max_probes=2)
    assert found.smallest_failure is not None
    assert found.largest_success == found.middle == 0
