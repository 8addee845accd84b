"""The arguments of a module call, taken apart into tensors and a hashable description of the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from djinn.device.tensor import RemoteTensor
from djinn.tracing import UnplannableError

_SCALARS = (type(None), bool, int, float, str, complex, torch.dtype, torch.device)


def take_apart(value: Any, tensors: list[RemoteTensor], key: list[Any]) -> None:
    """Append the tensors in `value` to `tensors` and everything else about it to `key`.

    Raises:
        UnplannableError: a host tensor, or an object whose contents are not known to be described by its parts.
    """
    if isinstance(value, RemoteTensor):
        tensors.append(value)
        key.append(value.meta_number)
    elif isinstance(value, _SCALARS):
        key.append((type(value), value))
    elif type(value) in (tuple, list, torch.Size):
        key.append((type(value), len(value)))
        for item in value:
            take_apart(item, tensors, key)
    elif type(value) is dict:
        key.append((dict, tuple(value)))
        for item in value.values():
            take_apart(item, tensors, key)
    elif is_dataclass(value) and not isinstance(value, type | dict):
        key.append(type(value))
        for field in fields(value):
            take_apart(getattr(value, field.name), tensors, key)
    else:
        raise UnplannableError(f"an argument of type {type(value).__name__}")


def put_together(value: Any, replace: Callable[[RemoteTensor], torch.Tensor]) -> Any:
    """Copy what `take_apart` took apart with every tensor replaced."""
    if isinstance(value, RemoteTensor):
        return replace(value)
    if type(value) in (tuple, list):
        return type(value)(put_together(item, replace) for item in value)
    if type(value) is dict:
        return {name: put_together(item, replace) for name, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type | dict):
        return type(value)(**{f.name: put_together(getattr(value, f.name), replace) for f in fields(value)})
    return value
