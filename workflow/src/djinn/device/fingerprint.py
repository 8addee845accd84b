"""What of a module decides which operations its call performs, as a comparable value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from djinn.device.tensor import RemoteTensor

# Parts of described trees carry this mark, so that changes to parts without tensors (an activation) are noticed too.
WATCHED = "_djinn_watched"
# Attributes of nn.Module itself that are covered below or do not influence forward.
_MODULE_ATTRIBUTES = frozenset(torch.nn.Module().__dict__) | {"_compiled_call_impl", WATCHED}


def fingerprint(module: torch.nn.Module) -> tuple[Any, ...]:
    """Describe a module tree: structure, modes, tensors by identity and metadata, plain attributes by value.

    Every part is marked as watched: from now on its changes count as mutations.
    """
    parts: list[Any] = []
    for name, part in module.named_modules(remove_duplicate=False):
        part.__dict__[WATCHED] = True
        parts.append((name, id(part), type(part), part.training, tuple(_tensors(part)), tuple(_attributes(part))))
    return tuple(parts)


def hook_tables(module: torch.nn.Module) -> list[dict[int, Any]]:
    """Return the tables of forward hooks in a module tree; any that is not empty runs Python code at each call."""
    return [table for part in module.modules() for table in (part._forward_hooks, part._forward_pre_hooks)]


def _tensors(module: torch.nn.Module) -> Iterator[Any]:
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if isinstance(tensor, RemoteTensor):
            yield name, tensor.handle.tensor_id, tensor.meta_number, tensor.requires_grad
        else:
            yield name, id(tensor)


def _attributes(module: torch.nn.Module) -> Iterator[Any]:
    for name, value in module.__dict__.items():
        if name not in _MODULE_ATTRIBUTES:
            yield name, _plain(value)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str | torch.dtype):
        return type(value), value
    if isinstance(value, RemoteTensor):
        return value.handle.tensor_id, value.meta_number
    if isinstance(value, tuple | list):
        return type(value), tuple(_plain(item) for item in value)
    if isinstance(value, dict):
        return dict, tuple((str(key), _plain(item)) for key, item in value.items())
    return id(value)
