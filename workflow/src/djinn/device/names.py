"""Names that code looks up: whether they still stand for what they stood for, compared in one pass at each call."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from functools import partial
from itertools import repeat
from operator import call, is_
from typing import Any

from djinn.device.structure import is_constant

MISSING = object()  # what a name stands for where there is none
Owner = dict[str, Any] | type  # of names: globals, a module's or a class's attributes
_attributes_of: Any = type.__dict__["__dict__"].__get__


def names_of(owner: Owner) -> Mapping[str, Any]:
    """Return the names that an owner has, past what a class makes of being asked."""
    names: Mapping[str, Any] = _attributes_of(owner) if isinstance(owner, type) else owner
    return names


class Names:
    """Names with what they stood for when they were added; they hold it, too."""

    def __init__(self) -> None:
        self._met: set[tuple[int, str]] = set()
        # Side by side: names, how each is looked up, what it stood for.
        self._names: list[str] = []
        self._getters: list[Callable[..., Any]] = []
        self._values: list[Any] = []
        self._states: list[tuple[Owner, str]] = []

    def add_attribute(self, owner: type | types.FunctionType, name: str) -> None:
        """Watch which object an attribute of a class or function is; one that is made anew at each look cannot be watched."""
        value = getattr(owner, name)
        if value is getattr(owner, name):
            self._add(owner, name, partial(getattr, owner), value)

    def add(self, owner: Owner, name: str) -> None:
        """Watch which object a name stands for; it may be missing."""
        names = names_of(owner)
        self._add(owner, name, names.get, names.get(name, MISSING))

    def add_state(self, owner: Owner, name: str) -> None:
        """Note a name that the code itself may assign."""
        self._states.append((owner, name))

    def _add(self, owner: Any, name: str, getter: Callable[..., Any], value: Any) -> None:
        if (id(owner), name) not in self._met:
            self._met.add((id(owner), name))
            self._names.append(name)
            self._getters.append(getter)
            self._values.append(value)

    def are_same(self) -> bool:
        """Tell whether every name stands for what it stood for; runs at each call."""
        return all(map(is_, map(call, self._getters, self._names, repeat(MISSING)), self._values))

    def states(self) -> list[Any]:
        """Return what the names that the code may assign stand for now."""
        return [names_of(owner).get(name, MISSING) for owner, name in self._states]

    def take_back_states(self, before: list[Any], *, is_alone: bool) -> bool:
        """Assign again the constants that were replaced by others since `states`, and tell whether there were any.

        What else took a constant's place stays: a table that the code fills once, say.

        Args:
            before: what the names stood for.
            is_alone: whether nobody else can have assigned them; otherwise they are left as they are.
        """
        changed = [
            (*state, old)
            for state, old, new in zip(self._states, before, self.states(), strict=True)
            if new is not old and is_constant(new) and (old is MISSING or is_constant(old))
        ]
        for owner, name, old in changed if is_alone else ():
            _assign(owner, name, old)
        return bool(changed)


def _assign(owner: Owner, name: str, value: Any) -> None:
    """Let a name stand for a value, or for none, past what a class makes of being told so."""
    if not isinstance(owner, type):
        if value is MISSING:
            owner.pop(name, None)
        else:
            owner[name] = value
    elif value is MISSING:  # it was inherited
        type.__delattr__(owner, name)
    else:
        type.__setattr__(owner, name, value)
