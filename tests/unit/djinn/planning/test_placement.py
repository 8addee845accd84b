"""Offsets never overlap while live, and the peak is near what no plan can undercut."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from djinn.planning.lifetimes import Lifetime
from djinn.planning.placement import place
from djinn.units import TENSOR_ALIGNMENT_BYTES


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Lifetime]:
    """Draw buffers with random sizes and intervals."""
    count = draw(st.integers(1, 40))
    drawn = []
    for storage in range(count):
        first = draw(st.integers(0, 60))
        drawn.append(Lifetime(storage, draw(st.integers(1, 5000)), first, first + draw(st.integers(0, 20))))
    return drawn


@settings(max_examples=200, deadline=None)
@given(lifetimes())
def test_buffers_that_live_together_do_not_overlap(items: list[Lifetime]) -> None:
    """The invariant that a replay relies on."""
    placement = place(items)
    for number, item in enumerate(items):
        start = placement.offsets[item.storage]
        assert start % TENSOR_ALIGNMENT_BYTES == 0
        assert start + item.num_bytes <= placement.peak_bytes
        for other in items[:number]:
            if item.overlaps(other):
                other_start = placement.offsets[other.storage]
                assert start + item.num_bytes <= other_start or other_start + other.num_bytes <= start


@settings(max_examples=100, deadline=None)
@given(lifetimes())
def test_peak_is_at_least_the_largest_live_sum(items: list[Lifetime]) -> None:
    """The lower bound is one, computed here node by node."""
    placement = place(items)
    nodes = {item.first for item in items}
    live = max(sum(i.num_bytes for i in items if i.first <= node <= i.last) for node in nodes)
    assert live <= placement.lower_bound_bytes <= placement.peak_bytes


def test_a_chain_needs_two_buffers_only() -> None:
    """Each operation reads its predecessor and writes its own: two buffers suffice for any length."""
    placement = place([Lifetime(number, 1024, number, number + 1) for number in range(50)])
    assert placement.peak_bytes == 2 * 1024


@pytest.mark.parametrize(("count", "span", "longest"), [(40, 60, 20), (100, 100, 20), (200, 200, 30), (1000, 1000, 50)])
def test_random_intervals_come_close_to_the_bound(count: int, span: int, longest: int) -> None:
    """Within 5 % on average and 10 % at worst of what no plan can undercut; some sets have no plan that reaches it."""
    ratios = []
    for seed in range(12):
        generator = random.Random(seed)
        items = []
        for storage in range(count):
            first = generator.randint(0, span)
            items.append(Lifetime(storage, generator.randint(1, 10**6), first, first + generator.randint(0, longest)))
        placement = place(items)
        ratios.append(placement.peak_bytes / placement.lower_bound_bytes)
    assert statistics.mean(ratios) <= 1.05
    assert max(ratios) <= 1.10


def test_nothing_needs_nothing() -> None:
    """A plan without activations is possible."""
    assert place([]).peak_bytes == 0
