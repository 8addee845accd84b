"""Nested Python values, whatever their types: what they consist of, and how one with other contents is made.

Module calls take and return tuples, lists, dictionaries, dataclasses and plain objects (a KV cache, a model output).
Each kind can name its parts, list them, and fill a value with others; everything else about such values follows.
"""

from __future__ import annotations

import enum
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from types import MemberDescriptorType
from typing import Any

import torch

from djinn.tracing import UnplannableError

CONSTANTS = (
    type(None),
    bool,
    int,
    float,
    str,
    bytes,
    complex,
    type,
    enum.Enum,
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
)


_ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.layout, torch.memory_format}
)


def is_constant(value: Any) -> bool:
    """Tell whether a value is a constant of Python's or torch's own, or a tuple of such, by its very type."""
    if type(value) is tuple:
        return all(type(part) in _ATOMS for part in value)
    return type(value) in _ATOMS


def has_attributes(constant: Any) -> bool:
    """Tell whether a constant says more than its value: an instance of a subclass may have attributes."""
    return not isinstance(constant, type | enum.Enum) and bool(getattr(constant, "__dict__", None))


class Identity:
    """Equal to itself alone; keeps the object, so that no other gets its address."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and other._value is self._value

    def __hash__(self) -> int:
        return id(self._value)


class WeakIdentity:
    """The same, but what can be referred to weakly is not kept; nothing is equal to what is gone."""

    __slots__ = ("_find", "_number")

    def __init__(self, value: Any) -> None:
        self._number = id(value)
        try:
            self._find: Callable[[], Any] = weakref.ref(value)
        except TypeError:
            self._find = lambda: value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WeakIdentity):
            return False
        value = self._find()
        return self is other or (value is not None and value is other._find())

    def __hash__(self) -> int:
        return self._number


def make_tuple(kind: type, children: list[Any]) -> Any:
    """Make a tuple, named tuple, `torch.Size` or `torch.return_types` value; tuples are told apart by contents alone."""
    make = getattr(kind, "_make", kind)
    return make(children)


class Kind:
    """One way in which mutable values hold their parts."""

    def names(self, value: Any) -> Hashable:
        """Describe everything about a value but its parts."""
        raise NotImplementedError

    def key(self, value: Any) -> Hashable:
        """Describe the same so that different values differ: 1, 1.0 and True are equal."""
        return self.names(value)

    def children(self, value: Any) -> list[Any]:
        """List the parts, in the order that the names have."""
        raise NotImplementedError

    def fill(self, value: Any, names: Any, children: list[Any]) -> None:
        """Give a value exactly these parts."""
        raise NotImplementedError


class _List(Kind):
    def names(self, value: Any) -> Hashable:
        return len(value)

    def children(self, value: Any) -> list[Any]:
        return list(value)

    def fill(self, value: Any, names: Any, children: list[Any]) -> None:
        value[:] = children


class _Dict(Kind):
    """Items, and attributes beside them where a class adds some; the class's own methods are not asked."""

    def __init__(self, base: type[dict[Any, Any]]) -> None:
        self._base = base

    def names(self, value: Any) -> Hashable:
        return tuple(self._base.keys(value)), tuple(getattr(value, "__dict__", ()))

    def key(self, value: Any) -> Hashable:
        return self.names(value), tuple(map(type, self._base.keys(value)))

    def children(self, value: Any) -> list[Any]:
        return [*self._base.values(value), *getattr(value, "__dict__", {}).values()]

    def fill(self, value: Any, names: Any, children: list[Any]) -> None:
        keys, attributes = names
        self._base.clear(value)
        for key, child in zip(keys, children, strict=False):
            self._base.__setitem__(value, key, child)
        if attributes:
            value.__dict__.clear()
            value.__dict__.update(zip(attributes, children[len(keys) :], strict=True))


class _Object(Kind):
    """Attributes, in `__dict__` and in slots."""

    def __init__(self, slots: tuple[str, ...]) -> None:
        self._slots = slots

    def names(self, value: Any) -> Hashable:
        attributes = tuple(getattr(value, "__dict__", ()))
        return tuple([name for name in self._slots if hasattr(value, name)]), attributes

    def children(self, value: Any) -> list[Any]:
        slots = [getattr(value, name) for name in self._slots if hasattr(value, name)]
        return [*slots, *getattr(value, "__dict__", {}).values()]

    def fill(self, value: Any, names: Any, children: list[Any]) -> None:
        filled, attributes = names
        for name in self._slots:
            if name in filled:
                object.__setattr__(value, name, children[filled.index(name)])
            elif hasattr(value, name):
                object.__delattr__(value, name)
        if hasattr(value, "__dict__"):
            value.__dict__.clear()
            value.__dict__.update(zip(attributes, children[len(filled) :], strict=True))


_kinds: dict[type, Kind] = {}
_LIST = _List()


def kind_of(value: Any) -> Kind:
    """Return the kind of a mutable value.

    Raises:
        UnplannableError: a value whose parts do not say everything about it.
    """
    cls = type(value)
    kind = _kinds.get(cls)
    if kind is None:
        kind = _kinds[cls] = _choose(cls)
    return kind


def make_empty(cls: type) -> Any:
    """Make a value of a class that is to be filled, without running the class's own code."""
    new: Any = cls.__new__
    return new(cls)


def _choose(cls: type) -> Kind:
    if cls is list:
        return _LIST
    if cls is dict:
        return _Dict(dict)
    if issubclass(cls, OrderedDict):
        return _Dict(OrderedDict)
    if _is_plain(cls):
        return _Object(slot_names(cls))
    raise UnplannableError(f"a value of type {cls.__name__}")


def _is_plain(cls: type) -> bool:
    """Tell whether a class is written in Python and keeps nothing but attributes."""
    is_opaque = issubclass(cls, torch.nn.Module | BaseException)
    copies_plainly = all(getattr(cls, name) is getattr(object, name) for name in ("__reduce__", "__reduce_ex__"))
    return is_python(cls) and copies_plainly and not is_opaque and (cls.__dictoffset__ != 0 or bool(slot_names(cls)))


def is_python(cls: type) -> bool:
    """Tell whether a class and all that it inherits from are written in Python, and so keep nothing but attributes."""
    if not all(base is object or base.__flags__ & _HEAP_TYPE for base in cls.__mro__):
        return False
    # Some classes of Python's own library are made at run time too, but keep more than there are names for.
    num_pointers = len(slot_names(cls)) + (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)
    return cls.__basicsize__ == object.__basicsize__ + num_pointers * tuple.__itemsize__


def slot_names(cls: type) -> tuple[str, ...]:
    """Return the names of attributes that instances of a class keep outside of `__dict__`."""
    return tuple(
        name for base in cls.__mro__ for name, value in vars(base).items() if type(value) is MemberDescriptorType
    )


_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the class was made by a class statement
