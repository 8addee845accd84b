"""What mutable Python values consisted of: whether they still do, and how they do so again.

Lists, dictionaries and objects change without telling anybody, and whoever depends on them has to look at every call. So
all dictionaries and lists are compared together, in a few calls of built-in functions.
"""

from __future__ import annotations

import types
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import chain
from operator import eq, is_
from typing import Any

import numpy as np
import torch

from djinn.device.names import Names
from djinn.device.structure import slot_names
from djinn.tracing import UnplannableError

# Comparing more than this would take longer than many a plan.
MAX_PARTS = 10_000
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type, torch.dtype, torch.device})


def read_slots(value: Any) -> tuple[Any, ...]:
    """Return what an object keeps in slots; None stands for an empty one."""
    return tuple(getattr(value, name, None) for name in slot_names(type(value)))


def _write_slots(value: Any, parts: tuple[Any, ...]) -> None:
    for name, part in zip(slot_names(type(value)), parts, strict=True):
        object.__setattr__(value, name, part)


def read_array(array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    """Return what an array consists of."""
    return array.shape, array.dtype.str, array.tobytes()


def _write_array(array: np.ndarray[Any, Any], contents: tuple[Any, ...]) -> None:
    array[...] = np.frombuffer(contents[2], dtype=contents[1]).reshape(contents[0])


def _write_deque(value: deque[Any], parts: tuple[Any, ...]) -> None:
    value.clear()
    value.extend(parts)


def _base_of(value: dict[Any, Any]) -> type[dict[Any, Any]]:
    """Return the class whose methods tell what a dictionary consists of, and in which order: its own may do anything."""
    return OrderedDict if isinstance(value, OrderedDict) else dict


def items_of(value: dict[Any, Any]) -> Collection[tuple[Any, Any]]:
    """Return what a dictionary consists of, in its order."""
    return _base_of(value).items(value)


def _write_dict(value: dict[Any, Any], items: dict[Any, Any]) -> None:
    base = _base_of(value)
    base.clear(value)
    for key, part in items.items():
        base.__setitem__(value, key, part)


def _are_identical(parts: tuple[Any, ...], kept: tuple[Any, ...]) -> bool:
    return len(parts) == len(kept) and all(map(is_, parts, kept))


@dataclass(slots=True)
class _Watched:
    """A value of a rarer kind: how it is read, compared and written, and what was read."""

    value: Any
    read: Callable[[Any], Any]
    is_same: Callable[[Any, Any], bool]
    write: Callable[[Any, Any], None]
    kept: Any

    @property
    def is_unchanged(self) -> bool:
        return self.is_same(self.read(self.value), self.kept)


class Snapshot:
    """Values with what they consisted of when they were added.

    Atoms are compared by equality, so that 1 in the place of 1.0 is not noticed; all else by identity.

    Attributes:
        kept: the containers and objects among them, by their `id`.
        names: what the code around them looks up.
    """

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}
        self.names = Names()
        self._dicts: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._cells: list[tuple[types.CellType, Any]] = []
        self._others: list[_Watched] = []
        # The same, side by side for comparing: dictionaries' values and lists, dictionaries, sets, what is no atom.
        self._live: list[Any] = []
        self._sizes: list[int] = []
        self._parts: list[Any] = []
        self._live_keys: list[Collection[Any]] = []
        self._keys: list[Any] = []
        self._live_sets: list[set[Any]] = []
        self._sets: list[set[Any]] = []
        self._places: list[tuple[Any, Any, Any]] = []

    def add_dict(self, value: dict[Any, Any]) -> None:
        """Watch a dictionary, or an object's attributes; raises as `add_list` does."""
        self.kept[id(value)] = value
        self._dicts.append((value, dict(value)))
        keys = _base_of(value).keys(value)
        self._live_keys.append(keys)
        self._keys += keys
        self._add(value, dict.values(value), dict.items(value))

    def add_list(self, value: list[Any]) -> None:
        """Watch a list.

        Raises:
            UnplannableError: there is too much to compare at each call.
        """
        self.kept[id(value)] = value
        self._lists.append((value, list(value)))
        self._add(value, value, enumerate(value))

    def _add(self, value: Any, live: Collection[Any], places: Iterable[tuple[Any, Any]]) -> None:
        self._live.append(live)
        self._sizes.append(len(live))
        self._parts += live
        self._places += [(value, place, part) for place, part in places if type(part) not in _ATOMS]
        if len(self._parts) > MAX_PARTS:
            raise UnplannableError(f"the module keeps more than {MAX_PARTS} values in lists, dictionaries and objects")

    def add_set(self, value: set[Any]) -> None:
        """Watch a set."""
        self.kept[id(value)] = value
        self._live_sets.append(value)
        self._sets.append(set(value))

    def add_slots(self, value: Any) -> None:
        """Watch what an object keeps in slots."""
        self._others.append(_Watched(value, read_slots, _are_identical, _write_slots, read_slots(value)))

    def add_cell(self, value: types.CellType) -> None:
        """Watch a closure's cell that is filled."""
        self._cells.append((value, value.cell_contents))

    def add_deque(self, value: deque[Any]) -> None:
        """Watch a queue."""
        self.kept[id(value)] = value
        self._others.append(_Watched(value, tuple, _are_identical, _write_deque, tuple(value)))

    def add_array(self, value: np.ndarray[Any, Any]) -> None:
        """Watch an array."""
        self._others.append(_Watched(value, read_array, eq, _write_array, read_array(value)))

    def keeps_any(self, values: Iterable[Any]) -> bool:
        """Tell whether any of these very values is among what the module keeps."""
        return not self.kept.keys().isdisjoint(map(id, values))

    def is_unchanged(self) -> bool:
        """Tell whether names and values are what they were; runs at each call."""
        return self.names.are_same() and self.has_same_values()

    def has_same_values(self) -> bool:
        """Tell whether every value consists of what it consisted of."""
        if self._live and not self._is_live_unchanged():
            return False
        if self._live_sets and self._live_sets != self._sets:
            return False
        if self._cells and not self._are_cells_same():
            return False
        return not self._others or all(other.is_unchanged for other in self._others)

    def _are_cells_same(self) -> bool:
        try:
            return all(cell.cell_contents is contents for cell, contents in self._cells)
        except ValueError:  # a variable was deleted
            return False

    def _is_live_unchanged(self) -> bool:
        try:
            for value, place, part in self._places:
                if value[place] is not part:
                    return False
            return (
                [*map(len, self._live)] == self._sizes
                and [*chain.from_iterable(self._live)] == self._parts
                and [*chain.from_iterable(self._live_keys)] == self._keys
            )
        except Exception:  # a place that is gone, or in an atom's place what refuses to be compared with it
            return False

    def restore(self) -> None:
        """Let every value consist of what it consisted of; classes are left alone."""
        for value, kept in self._dicts:
            if not (_are_identical(tuple(value.values()), tuple(kept.values())) and [*value] == [*kept]):
                _write_dict(value, kept)
        for listed, parts in self._lists:
            if not _are_identical(tuple(listed), tuple(parts)):
                listed[:] = parts
        for live, elements in zip(self._live_sets, self._sets, strict=True):
            live.clear()
            live.update(elements)
        for cell, contents in self._cells:
            cell.cell_contents = contents
        for other in self._others:
            if not other.is_unchanged:
                other.write(other.value, other.kept)
