"""Inputs that share elements with one that is written to, against comparing all with all."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from djinn.core import TensorMeta
from djinn.errors import SharedInputsError
from djinn.server.overlaps import Overlaps

_MEMORY = torch.zeros(40)
_RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10), st.booleans()), max_size=8)


def _entries(ranges: list[tuple[int, int, bool]]) -> list[Any]:
    return [SimpleNamespace(tensor=_MEMORY[start : start + length]) for start, length, _ in ranges]


def _is_refused(overlaps: Overlaps, weights: list[Any], arguments: list[Any], num_moves: int) -> bool:
    try:
        overlaps.check(weights, arguments, num_moves)
    except SharedInputsError:
        return True
    return False


def _share_what_is_written(inputs: list[tuple[int, int, bool]]) -> bool:
    return any(
        (one[2] or other[2]) and max(one[0], other[0]) < min(one[0] + one[1], other[0] + other[1])
        for one, other in combinations(inputs, 2)
        if one[1] and other[1]
    )


@given(weights=_RANGES, arguments=_RANGES)
def test_exactly_those_calls_are_refused(weights: Any, arguments: Any) -> None:
    """At the first call as at the next one, and when other weights or arguments came between."""
    inputs = [*weights, *arguments]
    expected = _share_what_is_written(inputs)
    metas = [TensorMeta.of(entry.tensor) for entry in _entries(inputs)]
    overlaps = Overlaps(metas, {number for number, (_, _, is_written) in enumerate(inputs) if is_written})
    for num_moves in (1, 1, 2):
        assert _is_refused(overlaps, _entries(weights), _entries(arguments), num_moves) == expected


@given(
    weights=_RANGES, arguments=_RANGES, moves=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 30)), max_size=12)
)
def test_arguments_that_move_between_calls_are_compared_anew(weights: Any, arguments: Any, moves: Any) -> None:
    """One after the other, whether they are written to or not, and after calls that were refused."""
    metas = [TensorMeta.of(entry.tensor) for entry in _entries([*weights, *arguments])]
    overlaps = Overlaps(
        metas, {number for number, (_, _, is_written) in enumerate([*weights, *arguments]) if is_written}
    )
    for number, start in [(0, 0), *moves]:
        if number < len(arguments):
            _, length, is_written = arguments[number]
            arguments[number] = start, length, is_written
        is_refused = _is_refused(overlaps, _entries(weights), _entries(arguments), 1)
        assert is_refused == _share_what_is_written([*weights, *arguments])
