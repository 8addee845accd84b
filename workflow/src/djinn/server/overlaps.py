"""Inputs of a plan that share elements: where it writes to them, its order of operations may not be the program's."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate, compress
from operator import is_not

from djinn.core import TensorMeta
from djinn.errors import SharedInputsError
from djinn.server.table import Entry

# Where an input's elements begin and end in memory, and its number.
_Range = tuple[int, int, int]


class Overlaps:
    """Those among the inputs of one plan."""

    def __init__(self, metas: list[TensorMeta], written: set[int]) -> None:
        """Take the metadata of all inputs, and the numbers of those that the plan writes to."""
        self._num_bytes = [meta.extent_bytes - meta.storage_offset * meta.dtype.itemsize for meta in metas]
        self._written = written
        self._weights = _Table([])
        self._written_weights = _Table([])
        self._written_arguments = _Table([])
        self._num_moves = -1
        # Of the last call's arguments: where they began, and those of them that do not move before `num_moves` changes.
        self._starts: list[int] = []
        self._known: list[Entry | None] = []

    def others(self, arguments: list[Entry], num_moves: int) -> list[int]:
        """Return the places of those arguments that are perhaps not the last call's, or weights, which may be shared.

        A decode step passes dozens of caches, the same ones at every token.
        """
        if num_moves != self._num_moves or len(arguments) != len(self._known):
            return list(range(len(arguments)))
        return list(compress(range(len(arguments)), map(is_not, arguments, self._known)))

    def check(self, weights: list[Entry], arguments: list[Entry], others: list[int], num_moves: int) -> None:
        """Refuse a call in which a written input shares elements with another one; plans that write to none may be skipped.

        Args:
            weights: the leading inputs, the same at every call.
            arguments: the further ones.
            others: what `others` returned of them; some may have moved since.
            num_moves: how often any tensor got other memory; weights are looked at again only after that.

        Raises:
            SharedInputsError: there are such inputs.
        """
        first = len(weights)
        if num_moves == self._num_moves and len(arguments) == len(self._known):
            for place in others:
                entry = arguments[place]
                start = entry.tensor.data_ptr()
                if start != self._starts[place] and (
                    first + place in self._written or self._meets_written(first + place, start)
                ):
                    break  # what it meets may have moved as well
                self._starts[place], self._known[place] = start, _lasting(entry)
            else:
                return
        self._check_all(weights, [entry.tensor.data_ptr() for entry in arguments], num_moves)
        self._known = [_lasting(entry) for entry in arguments]

    def _check_all(self, weights: list[Entry], starts: list[int], num_moves: int) -> None:
        self._starts, self._known = [], []
        if num_moves != self._num_moves:
            ranges = self._ranges([entry.tensor.data_ptr() for entry in weights], 0)
            self._refuse(ranges)
            self._weights = _Table(ranges)
            self._written_weights = _Table([each for each in ranges if each[2] in self._written])
            self._num_moves = num_moves
        ranges = self._ranges(starts, len(weights))
        self._refuse(ranges)
        for start, end, number in ranges:
            if (self._weights if number in self._written else self._written_weights).meets(start, end):
                raise _shared(f"{number} and a weight")
        self._written_arguments = _Table([each for each in ranges if each[2] in self._written])
        self._starts = starts

    def _meets_written(self, number: int, start: int) -> bool:
        """Tell whether an input would meet one that is written and lies where it lay at the last call: a token meets none."""
        end = start + self._num_bytes[number]
        return start < end and (self._written_arguments.meets(start, end) or self._written_weights.meets(start, end))

    def _ranges(self, starts: list[int], first: int) -> list[_Range]:
        numbered = enumerate(starts, start=first)
        return sorted((start, start + self._num_bytes[n], n) for n, start in numbered if self._num_bytes[n])

    def _refuse(self, ranges: list[_Range]) -> None:
        open_ranges: list[_Range] = []
        for start, end, number in ranges:
            open_ranges = [other for other in open_ranges if other[1] > start]
            for _, _, other in open_ranges:
                if number in self._written or other in self._written:
                    raise _shared(f"{other} and {number}")
            open_ranges.append((start, end, number))


class _Table:
    """Ranges, sorted, to be asked whether another one meets any of them."""

    def __init__(self, ranges: list[_Range]) -> None:
        self._ranges = ranges
        self._reach = list(accumulate((end for _, end, _ in ranges), max))

    def meets(self, start: int, end: int) -> bool:
        """Tell whether any of them has something of this one."""
        num_before = bisect_left(self._ranges, (end,))
        return num_before > 0 and self._reach[num_before - 1] > start


def _lasting(entry: Entry) -> Entry | None:
    """Return an entry that may be remembered: what torch's allocator owns would be held, and weights may have to be copied."""
    return entry if entry.block is not None and entry.block.text is None else None


def _shared(inputs: str) -> SharedInputsError:
    return SharedInputsError(f"Inputs {inputs} of a plan share elements, which it writes to; run the call without it.")
