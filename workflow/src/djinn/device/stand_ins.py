"""A module's tensors, and a module in whose place phantoms stand for the time of a simulation.

`torch.func.functional_call` does this for parameters and buffers; modules also keep their tensors in plain lists
(`nn.LSTM._flat_weights`, and weak references to them), where it leaves them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from djinn.device.tensor import RemoteTensor
from djinn.tracing import UnplannableError


def weights_of(module: torch.nn.Module) -> list[RemoteTensor]:
    """Return the distinct parameters and buffers of a module tree.

    Raises:
        UnplannableError: one of them lies elsewhere.
    """
    found: dict[int, RemoteTensor] = {}
    for part in module.modules():
        for name, tensor in (*part._parameters.items(), *part._buffers.items()):
            if isinstance(tensor, RemoteTensor):
                found[id(tensor)] = tensor
            elif tensor is not None:
                raise UnplannableError(f"{type(part).__name__}.{name} lies on {tensor.device}")
    return list(found.values())


@contextmanager
def standing_in(module: torch.nn.Module, weights: list[RemoteTensor], phantoms: list[torch.Tensor]) -> Iterator[None]:
    """Within this scope every weight of the module tree is the phantom of the same position."""
    phantom_by_id = {id(weight): phantom for weight, phantom in zip(weights, phantoms, strict=False)}
    for weight, phantom in zip(weights, phantoms, strict=False):
        if isinstance(weight, torch.nn.Parameter):
            phantom._is_param = True
    undo: list[tuple[Any, Any, Any]] = []

    def replace(holder: Any, place: Any, value: Any) -> None:
        is_reference = isinstance(value, weakref.ref)
        phantom = phantom_by_id.get(id(value() if is_reference else value))
        if phantom is not None:
            undo.append((holder, place, value))
            _put(holder, place, weakref.ref(phantom) if is_reference else phantom)

    try:
        for part in module.modules():
            for table in (part._parameters, part._buffers):
                for name, tensor in table.items():
                    replace(table, name, tensor)
            for value in part.__dict__.values():
                if type(value) is list:
                    for position, tensor in enumerate(value):
                        replace(value, position, tensor)
        yield
    finally:
        for holder, place, value in reversed(undo):
            _put(holder, place, value)


def _put(holder: list[Any] | dict[str, Any], place: Any, value: Any) -> None:
    """Write to a list or table by the built-in type's own method, which counts no mutation."""
    if isinstance(holder, dict):
        dict.__setitem__(holder, place, value)
    else:
        list.__setitem__(holder, place, value)
