"""Notices which modules are on the device and when they change.

torch offers hooks for registered parameters, buffers and submodules; moving, copying and assigning offer none, so
those four methods of nn.Module are wrapped, and the function that swaps two tensors. So is what a simulation would not see:
`tolist` of host tensors, and the state of random numbers. None of them costs an ordinary module's forward call anything.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.modules import module as torch_module

from djinn.device.fingerprint import WATCHED
from djinn.device.modules import PlannedCall
from djinn.device.mutations import Mutations, is_simulating, refuse_in_simulation
from djinn.device.tensor import RemoteTensor, attach, attributes_of
from djinn.device.transfer import placing_weights

_ATTRIBUTE = "_compiled_call_impl"

# A table of parameters or buffers, and a name in it.
_Place = tuple[dict[str, Any], str]


class _Moves:
    """Modules are moved by one thread at a time: torch waits for itself where two exchange the tensors of one parameter."""

    lock = threading.RLock()

    @classmethod
    def part_from_parent(cls) -> None:
        """Go on in a forked process, where the thread that moves one is not."""
        cls.lock = threading.RLock()


os.register_at_fork(after_in_child=_Moves.part_from_parent)


def install() -> None:
    """Start to notice; called once."""
    torch_module.register_module_parameter_registration_hook(_on_tensor)
    torch_module.register_module_buffer_registration_hook(_on_tensor)
    torch_module.register_module_module_registration_hook(_on_module)
    _wrap("_apply", _apply)
    _wrap("__setstate__", _setstate)
    _wrap("__setattr__", _setattr)
    _wrap("__delattr__", _delattr)
    torch.utils.swap_tensors = _counting(torch.utils.swap_tensors)
    torch.Tensor.tolist = _seen_in_simulation(torch.Tensor.tolist)  # type: ignore[method-assign]
    # Its own state is not compared: other threads may draw from it while this one simulates.
    torch.set_rng_state = torch.random.set_rng_state = _refused_in_simulation(torch.set_rng_state)


def _counting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def counted(*args: Any) -> None:
        refuse_in_simulation("swaps tensors")
        original(*args)
        Mutations.count += 1

    return counted


def _seen_in_simulation(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let a simulation see that elements of a host tensor are read, where torch performs no operation for it."""

    @functools.wraps(original)
    def seen(tensor: torch.Tensor) -> Any:
        return original(tensor.detach() if is_simulating() else tensor)

    return seen


def _refused_in_simulation(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def checked(*args: Any, **kwargs: Any) -> Any:
        refuse_in_simulation("sets the state of random numbers")
        return original(*args, **kwargs)

    return checked


def is_attached(module: torch.nn.Module) -> bool:
    """Tell whether the module's calls become plans."""
    planned = module.__dict__.get(_ATTRIBUTE)
    return isinstance(planned, PlannedCall) and planned.belongs_to(module)


def is_watched(module: torch.nn.Module) -> bool:
    """Tell whether a plan may depend on the module."""
    return is_attached(module) or WATCHED in module.__dict__


def _wrap(name: str, wrapper: Callable[..., Any]) -> None:
    original = getattr(torch.nn.Module, name)

    @functools.wraps(original)
    def wrapped(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        return wrapper(original, module, *args, **kwargs)

    setattr(torch.nn.Module, name, wrapped)


def _settle(module: torch.nn.Module) -> None:
    """Attach a module that has tensors on the device, itself or below; detach one that has none left."""
    own = (*module._parameters.values(), *module._buffers.values())
    children = [child for child in module._modules.values() if child is not None]
    if any(isinstance(tensor, RemoteTensor) for tensor in own) or any(is_attached(child) for child in children):
        if not is_attached(module):
            module.__dict__[_ATTRIBUTE] = PlannedCall(module)
    elif isinstance(module.__dict__.get(_ATTRIBUTE), PlannedCall):
        del module.__dict__[_ATTRIBUTE]
    Mutations.count += 1


def _apply(original: Callable[..., Any], module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    with _Moves.lock:
        return _move(original, module, *args, **kwargs)


def _move(original: Callable[..., Any], module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    ties = _shared_tensors(module)
    before = dict(module._parameters)
    with placing_weights():
        result = original(module, *args, **kwargs)
    for name, parameter in before.items():
        moved = module._parameters.get(name)
        if parameter is not None and moved is not None and _stays(parameter, moved):
            module._parameters[name] = parameter
    for (table, name), others in ties:
        for other_table, other_name in others:
            other_table[other_name] = table[name]
    _settle(module)
    return result


def _stays(parameter: torch.Tensor, moved: torch.Tensor) -> bool:
    """Let a parameter become what it was moved to, so that optimizers hold it still; false where torch forbids that.

    Between classes torch makes new parameters, where it moves the elements of old ones between other devices.
    """
    if isinstance(parameter, RemoteTensor) == isinstance(moved, RemoteTensor):
        return False
    try:
        torch.utils.swap_tensors(parameter, moved)
    except RuntimeError:  # a weak reference or a view leads to it
        return False
    attach(parameter, attributes_of(moved))
    return True


def _shared_tensors(module: torch.nn.Module) -> list[tuple[_Place, list[_Place]]]:
    """Return the places that hold the same tensor: moving gives each of them a tensor of its own, and unties them."""
    places: dict[int, list[_Place]] = {}
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    places.setdefault(id(tensor), []).append((table, name))
    return [(found[0], found[1:]) for found in places.values() if len(found) > 1]


def _setstate(original: Callable[..., Any], module: torch.nn.Module, state: dict[str, Any]) -> None:
    original(module, state)
    _settle(module)


def _setattr(original: Callable[..., Any], module: torch.nn.Module, name: str, value: Any) -> None:
    if is_watched(module):
        if is_simulating() and getattr(module, name, None) is value:
            return  # as after an operation that wrote to the attribute's tensor and returned it
        refuse_in_simulation(f"assigns attribute {name!r}")
        original(module, name, value)
        Mutations.count += 1
    else:
        original(module, name, value)


def _delattr(original: Callable[..., Any], module: torch.nn.Module, name: str) -> None:
    if is_watched(module):
        refuse_in_simulation(f"deletes attribute {name!r}")
    original(module, name)
    if is_watched(module):
        Mutations.count += 1


def _on_tensor(module: torch.nn.Module, name: str, tensor: torch.Tensor | None) -> None:
    # The hook runs before torch stores the tensor, so the module is attached without looking.
    if isinstance(tensor, RemoteTensor) and not is_attached(module):
        module.__dict__[_ATTRIBUTE] = PlannedCall(module)
    if is_watched(module):
        Mutations.count += 1


def _on_module(module: torch.nn.Module, name: str, child: torch.nn.Module | None) -> None:
    if child is not None and is_attached(child) and not is_attached(module):
        module.__dict__[_ATTRIBUTE] = PlannedCall(module)
    if is_watched(module):
        Mutations.count += 1
