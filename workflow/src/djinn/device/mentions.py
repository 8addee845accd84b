"""What code looks up by name outside of its arguments: globals, functions of modules, methods and constants of classes.

Names are read from dictionaries, past what classes make of being looked at. Constants, functions and classes are followed.
Left alone are what other values and the closures of functions hold, constants that the code itself assigns, which are its
own state, and what is installed, as Python's own library and torch are. Whatever is compared at each call is held for that,
so no value is compared that may hold the module itself, closures apart: it goes with its last reference.
"""

from __future__ import annotations

import builtins
import contextlib
import enum
import functools
import os
import site
import sys
import sysconfig
import types
from collections import defaultdict
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import torch

from djinn.device.code_names import code_names_of
from djinn.device.names import MISSING, Names, Owner, names_of
from djinn.device.structure import is_constant
from djinn.tracing import UnplannableError


def _folders_of_packages() -> set[str]:
    """Return where Python's library and packages lie, whichever of the ways there are to install these was taken."""
    folders = {
        os.path.dirname(os.path.dirname(__file__)),
        os.path.dirname(torch.__file__),
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
    with contextlib.suppress(metadata.PackageNotFoundError):  # a build of torch's sources
        folders.add(str(metadata.distribution("torch").locate_file("")))
    return folders


_INSTALLED = ("<frozen ", *(os.path.join(folder, "") for folder in _folders_of_packages()))
_BUILT_IN = frozenset(
    {types.BuiltinFunctionType, types.MethodDescriptorType, torch._ops.OpOverload, torch._ops.OpOverloadPacket}
)
_BUILTINS = frozenset(vars(builtins))
_CONSTRUCTION = frozenset({"__new__", "__init__", "__post_init__"})
# What no call of a module runs, though torch or Python knows it by name.
_NEVER_CALLED = frozenset(
    [
        "__copy__",
        "__deepcopy__",
        "__del__",
        "__dir__",
        "__getstate__",
        "__init_subclass__",
        "__reduce__",
        "__reduce_ex__",
        "__repr__",
        "__setstate__",
        "__str__",
        "_apply",
        "_load_from_state_dict",
        "_save_to_state_dict",
        "eval",
        "extra_repr",
        "load_state_dict",
        "parameters",
        "state_dict",
        "to",
        "train",
    ]
)
# Comparing as many takes half a millisecond.
_MAX_NAMES = 4_096
# Whatever a metaclass says.
_bases: Any = type.__dict__["__mro__"].__get__


class Mentions:
    """What the functions and classes that a walk meets mention."""

    def __init__(self) -> None:
        self._met: dict[int, types.FunctionType] = {}
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
        """Look at what a function mentions, and at the functions that it closes over, later."""
        if id(function) not in self._met:
            self._met[id(function)] = function
            self._functions.append(function)

    def add_class(self, cls: type, *, is_constructed: bool = False) -> None:
        """Look at those attributes of a class that are mentioned, and at those that Python and its installed bases call."""
        if id(cls) in self._classes:
            return
        self._classes[id(cls)] = cls
        own = [base for base in _bases(cls) if not _is_installed(base)]
        if not own:
            return
        called = {name for base in _bases(cls) if _is_installed(base) for name in names_of(base)} - _NEVER_CALLED
        for base in own:
            for name, value in list(names_of(base).items()):
                is_dunder = name.startswith("__") and name not in _NEVER_CALLED
                is_called = is_constructed if name in _CONSTRUCTION else name in called or is_dunder
                if name in self._attributes or (is_called and _functions_in(value)):
                    self._found.append((cls, name))
                else:
                    self._definers[name].append(cls)

    def values(self) -> list[Any]:
        """Return what decides what the code does: what the names stand for, and the code and defaults of functions."""
        self._find()
        found = [names_of(owner).get(name, MISSING) for owner, name in self._watched()]
        for function in self._followed:
            found += [function.__code__, function.__defaults__, function.__kwdefaults__]
        return found

    def watch(self, names: Names) -> None:
        """Add what is mentioned to names that are watched; raises UnplannableError if there are too many."""
        self._find()
        watched = self._watched()
        if len(watched) > _MAX_NAMES:
            raise UnplannableError(f"the module's code mentions more than {_MAX_NAMES} names")
        for owner, name in watched:
            names.add(owner, name)
        for owner, name, _ in self._places.values():
            if self._is_state(owner, name):
                names.add_state(owner, name)
        for function in self._followed:
            names.add_attribute(function, "__code__")
            for name in ("__defaults__", "__kwdefaults__"):
                if getattr(function, name) is not None:  # where there were none, nobody has left an argument out
                    names.add_attribute(function, name)

    def _find(self) -> None:
        while self._functions or self._found:
            if self._functions:
                self._follow(self._functions.pop())
            else:
                self._look_up_attribute(*self._found.pop())

    def _watched(self) -> list[tuple[Owner, str]]:
        return [
            (owner, name)
            for owner, name, _ in self._places.values()
            if not self._is_state(owner, name) and _is_followed(names_of(owner).get(name, MISSING))
        ]

    def _is_state(self, owner: Owner, name: str) -> bool:
        """Tell whether the code assigns the name, and has no function or class there."""
        value = names_of(owner).get(name, MISSING)
        if not (value is MISSING or is_constant(value)):
            return False
        is_attribute = self._places[id(owner), name][2]
        return (id(owner), name) in self._written_globals or (is_attribute and name in self._written_attributes)

    def _follow(self, function: types.FunctionType) -> None:
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # it is empty
                self._add_functions(cell.cell_contents)
        if _is_installed(function):
            return
        self._followed.append(function)
        names, namespace = code_names_of(function.__code__), function.__globals__
        for name in names.attributes:
            if name not in self._attributes:
                self._attributes[name] = None
                self._found += [(cls, name) for cls in self._definers.pop(name, ())]
        self._written_attributes |= names.written_attributes.keys()
        self._written_globals |= {(id(namespace), name) for name in names.written_globals}
        for name in (*names.globals, *names.written_globals):
            if name in namespace or name not in _BUILTINS:
                self._look_up(namespace, name, is_attribute=False)
                self._look_into_module(namespace.get(name), names.attributes, set())

    def _look_into_module(self, module: Any, names: Iterable[str], seen: set[int]) -> None:
        """Look these names up in a module, and in the modules that they stand for, but for those that were seen."""
        if type(module) is not types.ModuleType or id(module) in seen or _is_installed(module):
            return
        seen.add(id(module))
        for name in names:
            if name in module.__dict__:
                self._look_up(module.__dict__, name, is_attribute=True)
                self._look_into_module(module.__dict__[name], names, seen)

    def _look_up_attribute(self, cls: type, name: str) -> None:
        """Look a name up in each class that defines it, and note that it is absent from those that may hide them."""
        bases = _bases(cls)
        last = max((number for number, base in enumerate(bases) if name in names_of(base)), default=-1)
        for base in bases[: last + 1]:
            if not _is_installed(base):
                self._look_up(base, name, is_attribute=True)

    def _look_up(self, owner: Owner, name: str, *, is_attribute: bool) -> None:
        value = names_of(owner).get(name, MISSING)
        if (id(owner), name) in self._places or (type(value) is types.ModuleType and _is_installed(value)):
            return
        self._places[id(owner), name] = owner, name, is_attribute
        if issubclass(type(value), type):
            self.add_class(value, is_constructed=True)
        elif issubclass(type(value), enum.Enum) or not _is_followed(value):
            self.add_class(type(value))
        self._add_functions(value)

    def _add_functions(self, value: Any) -> None:
        for function in _functions_in(value):
            self.add_function(function)


def _functions_in(value: Any) -> list[types.FunctionType]:
    """Return the Python functions that a name which stands for this value runs."""
    kind = type(value)
    parts = [value]
    if kind is property:
        parts = [value.fget, value.fset]
    elif kind in (staticmethod, classmethod):
        parts = [value.__func__]
    elif kind is functools.cached_property:
        parts = [value.func]
    return [part for part in parts if type(part) is types.FunctionType]


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
    if name == "__main__":  # where a profiler runs a program, the module of that name is the profiler's
        return False
    if not isinstance(name, str) or name in sys.builtin_module_names:
        return True
    module = value if type(value) is types.ModuleType else sys.modules.get(name)
    file = None if type(module) is not types.ModuleType else module.__dict__.get("__file__")
    return isinstance(file, str) and file.startswith(_INSTALLED)
