"""Inputs that share elements with one that is written to, against comparing all with all."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from djinn.core import TensorMeta
from djinn.errors import SharedInputsError
from djinn.server.overlaps import Overlaps

_MEMORY = torch.zeros(40)
_BLOCKS = SimpleNamespace(text=None), SimpleNamespace(text="a weight's")
_RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10), st.booleans()), max_size=8)


def _entry(start: int, length: int, block: Any = None) -> Any:
    return SimpleNamespace(tensor=_MEMORY[start : start + length], block=block)


def _entries(ranges: list[tuple[int, int, bool]]) -> list[Any]:
    return [_entry(start, length) for start, length, _ in ranges]


def _is_refused(overlaps: Overlaps, weights: list[Any], arguments: list[Any], num_moves: int) -> bool:
    try:
        overlaps.check(weights, arguments, overlaps.others(arguments, num_moves), num_moves)
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
    weights=_RANGES,
    arguments=_RANGES,
    moves=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 30), st.sampled_from([None, *_BLOCKS])), max_size=12),
)
# Refused, until what it met moves on.
@example(weights=[], arguments=[(0, 1, False), (1, 1, True)], moves=[(0, 1, None), (1, 0, None)])
def test_arguments_that_move_between_calls_are_compared_anew(weights: Any, arguments: Any, moves: Any) -> None:
    """One after the other, whether they are written to or not, and after calls that were refused."""
    metas = [TensorMeta.of(entry.tensor) for entry in _entries([*weights, *arguments])]
    overlaps = Overlaps(
        metas, {number for number, (_, _, is_written) in enumerate([*weights, *arguments]) if is_written}
    )
    entries = [_entry(start, length, _BLOCKS[0]) for start, length, _ in arguments]
    for number, start, block in [(0, 0, None), *moves]:
        if number < len(arguments):
            _, length, is_written = arguments[number]
            arguments[number] = start, length, is_written
            entries[number] = _entry(start, length, block)
        is_refused = _is_refused(overlaps, _entries(weights), entries, 1)
        assert is_refused == _share_what_is_written([*weights, *arguments])


def test_what_stays_is_not_looked_at_again() -> None:
    """But what torch's allocator may give to others is, and a weight, which may have to be copied, and all after a move."""
    entries = [_entry(0, 4, _BLOCKS[0]), _entry(8, 4), _entry(16, 4, _BLOCKS[1])]
    overlaps = Overlaps([TensorMeta.of(entry.tensor) for entry in entries], {0})
    assert overlaps.others(entries, 1) == [0, 1, 2]
    overlaps.check([], entries, [0, 1, 2], 1)
    assert overlaps.others(entries, 1) == [1, 2]
    assert overlaps.others([_entry(0, 4, _BLOCKS[0]), *entries[1:]], 1) == [0, 1, 2]
    assert overlaps.others(entries, 2) == [0, 1, 2]
