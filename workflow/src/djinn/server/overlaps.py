"""Inputs of a plan that share elements: where it writes to them, its order of operations may not be the program's."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

import torch

from djinn.core import TensorMeta
from djinn.errors import SharedInputsError
from djinn.server.table import Entry

# Where an input's elements begin and end in memory, and its number.
_Range = tuple[int, int, int]


class Overlaps:
    """Those among the inputs of one plan."""

    def __init__(self, written: set[int]) -> None:
        """Take the numbers of the inputs that the plan writes to."""
        self._written = written
        self._weights: list[_Range] = []
        self._num_moves = -1

    def check(self, weights: list[Entry], arguments: list[Entry], num_moves: int) -> None:
        """Refuse a call in which a written input shares elements with another one; plans that write to none may be skipped.

        Args:
            weights: the leading inputs, the same at every call.
            arguments: the others.
            num_moves: how often any tensor got other memory; weights are looked at again only after that.

        Raises:
            SharedInputsError: there are such inputs.
        """
        if num_moves != self._num_moves:
            self._weights = _ranges(weights, 0)
            self._refuse(self._weights)
            self._num_moves = num_moves
        ranges = _ranges(arguments, len(weights))
        self._refuse(ranges)
        for start, end, number in ranges:
            after = bisect_left(self._weights, (end,))
            # Weights do not overlap where one of them is written to, so that the nearest one below tells.
            if after and self._weights[after - 1][1] > start:
                self._refuse_pair(number, self._weights[after - 1][2])

    def _refuse(self, ranges: list[_Range]) -> None:
        for (_, end, number), (start, _, other) in pairwise(ranges):
            if start < end:
                self._refuse_pair(number, other)

    def _refuse_pair(self, number: int, other: int) -> None:
        if number in self._written or other in self._written:
            raise SharedInputsError(
                f"Inputs {number} and {other} of a plan share elements, which it writes to; run the call without it."
            )


def _ranges(entries: list[Entry], first: int) -> list[_Range]:
    return sorted(
        (entry.tensor.data_ptr(), entry.tensor.data_ptr() + _num_bytes(entry.tensor), number)
        for number, entry in enumerate(entries, start=first)
        if entry.tensor.numel()
    )


def _num_bytes(tensor: torch.Tensor) -> int:
    """Return how many bytes the elements span, from the first one."""
    return TensorMeta.of(tensor).extent_bytes - int(tensor.storage_offset()) * tensor.dtype.itemsize
