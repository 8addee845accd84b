"""What of a module decides which operations its call performs: comparable, and watched for changes.

Registered tensors and submodules tell when they change. Other attributes are described by value as deep as they go, and
so is what the forward methods and functions among them close over and mention by name.
"""

from __future__ import annotations

import functools
import logging
import re
import threading
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as torch_module

from djinn.device.mentions import Mentions
from djinn.device.mutations import WatchedTable
from djinn.device.snapshot import Snapshot, items_of, read_array, read_slots
from djinn.device.structure import CONSTANTS, Identity, WeakIdentity, has_attributes, is_constant, is_python, slot_names
from djinn.device.tensor import RemoteTensor
from djinn.tracing import UnplannableError

# Parts of described trees carry this mark, so that changes to parts without tensors (an activation) are noticed too.
WATCHED = "_djinn_watched"
# Attributes of nn.Module itself that are covered below or do not influence forward.
_MODULE_ATTRIBUTES = frozenset(torch.nn.Module().__dict__) | {"_compiled_call_impl", WATCHED}
_GLOBAL_HOOK_TABLES: tuple[dict[int, Any], ...] = (
    torch_module._global_forward_hooks,
    torch_module._global_forward_pre_hooks,
    torch_module._global_backward_hooks,
    torch_module._global_backward_pre_hooks,
)
_TABLES = ("_parameters", "_buffers", "_modules")
_MAX_ARRAY_BYTES = 1 << 20
# What these consist of does not change, or decides nothing that a forward computes. Elements of tensors on the host are
# compared where a plan relies on them.
_OPAQUE = (
    torch.Generator,
    torch._ops.OpOverload,
    torch._ops.OpOverloadPacket,
    types.ModuleType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    functools._lru_cache_wrapper,
    logging.Logger,
    re.Pattern,
    np.dtype,
    range,
    type(Ellipsis),
    type(threading.Lock()),
    type(threading.RLock()),
)


def fingerprint(module: torch.nn.Module) -> tuple[Hashable, Snapshot]:
    """Describe a module tree, and return what has to be compared at each call beside the count of mutations.

    Every part is marked as watched: from now on its changes count as mutations.

    Raises:
        UnplannableError: a value whose changes could not be noticed, or too many values.
    """
    walk = _Walk()
    described = walk.describe(module)
    return (described, walk.describe_mentions()), walk.snapshot


def hook_tables(module: torch.nn.Module) -> list[dict[int, Any]]:
    """Return the tables of hooks that a module tree looks into; one that is not empty runs Python code at each call."""
    own = [table for part in module.modules() for table in (part._forward_hooks, part._forward_pre_hooks)]
    return [*own, *_GLOBAL_HOOK_TABLES]


class _Walk:
    """One walk over a module tree and everything that it keeps; values met again are described by their number."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self._mentions = Mentions()
        self._met: dict[int, tuple[int, Any]] = {}

    def describe(self, value: Any) -> Hashable:
        """Describe a value.

        Raises:
            UnplannableError: a value whose changes could not be noticed, or too many values.
        """
        cls = type(value)
        if cls is float or cls is complex:
            return cls, repr(value)  # 0.0 and -0.0 are equal
        if isinstance(value, CONSTANTS):
            if isinstance(value, type):
                self._mentions.add_class(value)
            return cls, value, self._describe_attributes(value) if has_attributes(value) else None
        if isinstance(value, RemoteTensor):
            value.is_watched = True
            attributes = tuple([(name, self.describe(part)) for name, part in value.attributes().items()])
            return value.handle.tensor_id, value.meta_number, value.requires_grad, attributes
        if isinstance(value, tuple):
            return cls, tuple([self.describe(item) for item in value])
        if isinstance(value, np.generic):
            return cls, value.tobytes()
        if isinstance(value, slice):
            return cls, self.describe((value.start, value.stop, value.step))
        if id(value) in self._met:
            return "again", self._met[id(value)][0]
        self._met[id(value)] = (len(self._met), value)
        return cls, self._describe_parts(value)

    def describe_mentions(self) -> Hashable:
        """Describe what the code that was met mentions."""
        # Watched first: what another thread assigns in between is described as it is then, and found changed at the next call.
        self._mentions.watch(self.snapshot.names)
        values = self._mentions.values()
        return tuple([self.describe(value) if is_constant(value) else WeakIdentity(value) for value in values])

    def _describe_parts(self, value: Any) -> Hashable:
        for kind, describe in _DESCRIPTIONS.items():
            if isinstance(value, kind):
                described: Hashable = describe(self, value)
                return described
        if isinstance(value, torch.Tensor):
            return Identity(value), self._describe_attributes(value)
        if isinstance(value, _OPAQUE):
            return Identity(value)
        if is_python(type(value)):
            return self._describe_object(value)
        raise UnplannableError(f"changes to a value of type {type(value).__name__} would not be noticed")

    def _describe_module(self, module: torch.nn.Module) -> Hashable:
        module.__dict__[WATCHED] = True
        for name in _TABLES:
            # Where a part was deleted from a `ModuleList`, torch leaves an `OrderedDict`.
            if type(module.__dict__[name]) in (dict, OrderedDict):
                module.__dict__[name] = WatchedTable(module.__dict__[name])
        self.snapshot.names.add_attribute(type(module), "forward")
        self._mentions.add_class(type(module))
        slots: tuple[Any, ...] = ()
        if slot_names(type(module)):
            self.snapshot.add_slots(module)
            slots = read_slots(module)
        return (
            module.training,
            self.describe(slots),
            tuple([(name, self.describe(part)) for table in _TABLES for name, part in getattr(module, table).items()]),
            tuple([(n, self.describe(part)) for n, part in module.__dict__.items() if n not in _MODULE_ATTRIBUTES]),
            self.describe(type(module).forward),
        )

    def _describe_dict(self, value: dict[Any, Any]) -> Hashable:
        self.snapshot.add_dict(value)
        return tuple([(self.describe(key), self.describe(part)) for key, part in items_of(value)])

    def _describe_attributes(self, value: Any) -> Hashable:
        attributes = getattr(value, "__dict__", None)  # built-in types have none, but subclasses may
        return None if attributes is None else self._describe_dict(attributes)

    def _describe_dictionary(self, value: dict[Any, Any]) -> Hashable:
        return self._describe_dict(value), self._describe_attributes(value)

    def _describe_list(self, value: list[Any]) -> Hashable:
        self.snapshot.add_list(value)
        return tuple([self.describe(item) for item in value]), self._describe_attributes(value)

    def _describe_deque(self, value: deque[Any]) -> Hashable:
        self.snapshot.add_deque(value)
        return value.maxlen, tuple([self.describe(item) for item in value])

    def _describe_set(self, value: set[Any]) -> Hashable:
        self.snapshot.add_set(value)
        return self._describe_frozenset(frozenset(value))

    def _describe_frozenset(self, value: frozenset[Any]) -> Hashable:
        return frozenset([self.describe(item) for item in value])

    def _describe_array(self, value: np.ndarray[Any, Any]) -> Hashable:
        if value.nbytes > _MAX_ARRAY_BYTES or value.dtype.hasobject:
            raise UnplannableError(f"the module keeps an array of {value.nbytes} bytes and dtype {value.dtype}")
        self.snapshot.add_array(value)
        return read_array(value)

    def _describe_object(self, value: Any) -> Hashable:
        self.snapshot.kept[id(value)] = value
        self._mentions.add_class(type(value))
        slots: tuple[Any, ...] = ()
        if slot_names(type(value)):
            self.snapshot.add_slots(value)
            slots = read_slots(value)
        return self.describe(slots), self._describe_attributes(value)

    def _describe_function(self, value: types.FunctionType) -> Hashable:
        """Describe a function, what its body sees of the scope that made it, and what it mentions."""
        self._mentions.add_function(value)
        defaults = self.describe(value.__defaults__), self.describe(value.__kwdefaults__)
        cells = tuple(map(self._describe_cell, value.__closure__ or ()))
        # Functions that were defined again with the same text do the same.
        return value.__code__, Identity(value.__globals__), defaults, cells

    def _describe_cell(self, cell: types.CellType) -> Hashable:
        try:
            contents = cell.cell_contents
        except ValueError:  # not filled yet; what is not defined ends the call
            return None
        if not isinstance(contents, type):  # such as super() needs, which nobody replaces
            self.snapshot.add_cell(cell)
        return self.describe(contents)

    def _describe_method(self, value: types.MethodType) -> Hashable:
        return self.describe(value.__func__), self.describe(value.__self__)

    def _describe_partial(self, value: functools.partial[Any]) -> Hashable:
        return self.describe(value.func), self.describe(value.args), self.describe(value.keywords)

    def _describe_reference(self, value: weakref.ref[Any]) -> Hashable:
        return self.describe(value())


_DESCRIPTIONS: dict[Any, Any] = {
    torch.nn.Module: _Walk._describe_module,
    dict: _Walk._describe_dictionary,
    list: _Walk._describe_list,
    deque: _Walk._describe_deque,
    set: _Walk._describe_set,
    frozenset: _Walk._describe_frozenset,
    np.ndarray: _Walk._describe_array,
    types.FunctionType: _Walk._describe_function,
    types.MethodType: _Walk._describe_method,
    functools.partial: _Walk._describe_partial,
    weakref.ref: _Walk._describe_reference,
}
