"""What code looks up by name outside of its arguments: globals, functions of modules, methods and constants of classes.

Names are read from dictionaries, past what classes make of being looked at. Constants, functions and classes are followed.
Left alone are what other values hold, what the code itself assigns, which is its own state, and what is installed, as
Python's own library and torch are. Whatever is compared at each call is held for that, so nothing is compared that may hold
the module itself: it goes with its last reference.
"""

from __future__ import annotations

import enum
import functools
import os
import site
import sys
import sysconfig
import types
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from djinn.device.code_names import code_names_of
from djinn.device.names import MISSING, Names, Owner, names_of
from djinn.device.structure import is_constant
from djinn.tracing import UnplannableError

_FOLDERS = {
    os.path.dirname(os.path.dirname(__file__)),
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    *site.getsitepackages(),
    site.getusersitepackages(),
}
_INSTALLED = ("<frozen ", *(os.path.join(folder, "") for folder in _FOLDERS))
_BUILT_IN = frozenset({types.BuiltinFunctionType, torch._ops.OpOverload, torch._ops.OpOverloadPacket})
_CONSTRUCTION = frozenset({"__new__", "__init__", "__post_init__"})
# Comparing as many takes half a millisecond.
_MAX_NAMES = 4_096
# Whatever a metaclass says.
_bases: Any = type.__dict__["__mro__"].__get__


class Mentions:
    """What the functions and classes that a walk meets mention."""

    def __init__(self) -> None:
        self._functions: list[types.FunctionType] = []
        self._followed: list[types.FunctionType] = []
        self._attributes: dict[str, None] = {}
        self._written_attributes: set[str] = set()
        self._written_globals: set[tuple[int, str]] = set()
        self._classes: dict[int, type] = {}
        self._definers: dict[str, list[type]] = defaultdict(list)
        self._found: list[tuple[type, str]] = []
        # By an owner's `id` and a name: the owner, the name, and whether the code can assign it as an attribute.
        self._places: dict[tuple[int, str], tuple[Owner, str, bool]] = {}

    def add_function(self, function: types.FunctionType) -> None:
        """Look at what a function mentions, later."""
        if not _is_installed(function):
            self._functions.append(function)

    def add_class(self, cls: type, *, is_constructed: bool = False) -> None:
        """Look at those attributes of a class that are mentioned, and at those that Python and its installed bases call."""
        if id(cls) in self._classes:
            return
        self._classes[id(cls)] = cls
        known = {name for base in _bases(cls) if _is_installed(base) for name in names_of(base)}
        for base in _bases(cls):
            for name in () if _is_installed(base) else list(names_of(base)):
                is_called = is_constructed if name in _CONSTRUCTION else name in known or name.startswith("__")
                if name in self._attributes or (is_called and _functions_in(names_of(base)[name])):
                    self._found.append((cls, name))
                else:
                    self._definers[name].append(cls)

    def values(self) -> Iterator[Any]:
        """Yield the functions that are mentioned, while those that were yielded may be added, and then what else is."""
        while self._functions or self._found:
            if self._functions:
                yield from self._functions_of(self._functions.pop())
            else:
                yield from self._functions_of_attribute(*self._found.pop())
        for owner, name in self._watched():
            value = names_of(owner).get(name, MISSING)
            if not _functions_in(value):
                yield value

    def watch(self, names: Names) -> None:
        """Add what was found to names that are watched; raises UnplannableError if there are too many."""
        watched = self._watched()
        if len(watched) > _MAX_NAMES:
            raise UnplannableError(f"the module's code mentions more than {_MAX_NAMES} names")
        for owner, name in watched:
            names.add(owner, name)
        for owner, name, _ in self._places.values():
            if self._is_written(owner, name):
                names.add_state(owner, name)
        for function in self._followed:
            names.add_attribute(function, "__code__")
            for name in ("__defaults__", "__kwdefaults__"):
                if getattr(function, name) is not None:  # where there were none, nobody has left an argument out
                    names.add_attribute(function, name)

    def _watched(self) -> list[tuple[Owner, str]]:
        return [
            (owner, name)
            for owner, name, _ in self._places.values()
            if not self._is_written(owner, name) and _is_followed(names_of(owner).get(name, MISSING))
        ]

    def _is_written(self, owner: Owner, name: str) -> bool:
        is_attribute = self._places[id(owner), name][2]
        return (id(owner), name) in self._written_globals or (is_attribute and name in self._written_attributes)

    def _functions_of(self, function: types.FunctionType) -> Iterator[types.FunctionType]:
        self._followed.append(function)
        names, namespace = code_names_of(function.__code__), function.__globals__
        for name in names.attributes:
            self._mention(name)
        self._written_attributes |= names.written_attributes
        self._written_globals |= {(id(namespace), name) for name in names.written_globals}
        for name, followers in names.globals.items():
            if name not in namespace:
                continue
            value = namespace[name]
            is_module = type(value) is types.ModuleType
            if is_module and _is_installed(value):
                continue
            yield from self._functions_at(namespace, name, is_attribute=False)
            if is_module:
                yield from self._functions_of_module(value, followers)

    def _functions_of_module(self, module: types.ModuleType, names: Mapping[str, None]) -> Iterator[types.FunctionType]:
        for name in names:
            if name in module.__dict__:
                yield from self._functions_at(module.__dict__, name, is_attribute=True)

    def _mention(self, name: str) -> None:
        if name not in self._attributes:
            self._attributes[name] = None
            self._found += [(cls, name) for cls in self._definers.pop(name, ())]

    def _functions_of_attribute(self, cls: type, name: str) -> Iterator[types.FunctionType]:
        """Follow a name in each class that defines it, and note that it is absent from those that may hide them."""
        bases = _bases(cls)
        last = max(number for number, base in enumerate(bases) if name in names_of(base) and not _is_installed(base))
        for base in bases[: last + 1]:
            if not _is_installed(base):
                yield from self._functions_at(base, name, is_attribute=True)

    def _functions_at(self, owner: Owner, name: str, *, is_attribute: bool) -> Iterator[types.FunctionType]:
        if (id(owner), name) in self._places:
            return
        self._places[id(owner), name] = owner, name, is_attribute
        value = names_of(owner).get(name, MISSING)
        if issubclass(type(value), type):
            self.add_class(value, is_constructed=True)
        elif not _is_followed(value):
            self.add_class(type(value))
        yield from _functions_in(value)


def _functions_in(value: Any) -> list[types.FunctionType]:
    """Return the Python functions that a name which stands for this value runs, but for installed ones."""
    kind = type(value)
    parts = [value]
    if kind is property:
        parts = [value.fget, value.fset]
    elif kind in (staticmethod, classmethod):
        parts = [value.__func__]
    elif kind is functools.cached_property:
        parts = [value.func]
    return [part for part in parts if type(part) is types.FunctionType and not _is_installed(part)]


def _is_followed(value: Any) -> bool:
    """Tell whether a value can be compared by identity, and kept for that: it holds no tensors and no modules."""
    kind = type(value)
    return (
        value is MISSING
        or kind in (types.FunctionType, types.ModuleType)
        or kind in _BUILT_IN
        or issubclass(kind, type | enum.Enum)
        or is_constant(value)
        or bool(_functions_in(value))
    )


def _is_installed(value: Any) -> bool:
    """Tell whether a function, class or module is of Python's library, an installed package, or this one."""
    if type(value) is types.FunctionType:
        return value.__code__.co_filename.startswith(_INSTALLED)
    name = names_of(value).get("__module__") if issubclass(type(value), type) else value.__dict__.get("__name__")
    if not isinstance(name, str) or name in sys.builtin_module_names:
        return True
    module = value if type(value) is types.ModuleType else sys.modules.get(name)
    file = None if type(module) is not types.ModuleType else module.__dict__.get("__file__")
    return isinstance(file, str) and file.startswith(_INSTALLED)
