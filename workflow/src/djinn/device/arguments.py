"""The arguments of a module call, taken apart into tensors, containers and a hashable description of the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import torch

from djinn.device.padding import carries_mask
from djinn.device.structure import CONSTANTS, has_attributes, kind_of, make_empty, make_tuple
from djinn.device.tensor import RemoteTensor
from djinn.device.transfer import upload
from djinn.tracing import UnplannableError


class Arguments(msgspec.Struct, eq=False):
    """What one walk over a call's arguments finds.

    Attributes:
        key: everything but the following; begins with what else belongs to it.
        tensors: the distinct tensors, in order, on the device.
        hosts: scalars that came from the host, by their place in `tensors`; as on every device, those may.
        containers: the distinct lists, dictionaries and objects, in order.
    """

    key: list[Any]
    tensors: list[RemoteTensor] = []
    hosts: dict[int, torch.Tensor] = {}
    containers: list[Any] = []
    _numbers: dict[int, int] = {}

    def take(self, values: Iterable[Any]) -> None:
        """Take values apart.

        Raises:
            UnplannableError: a host tensor with dimensions, or a value whose parts do not say everything about it.
        """
        # A call takes every tensor of a KV cache apart here, in code that has not run since the last call.
        tensors, key, numbers = self.tensors, self.key, self._numbers
        for value in values:
            if type(value) is RemoteTensor:
                known = numbers.setdefault(id(value), len(tensors))
                if known < len(tensors):
                    key.append(("tensor again", known))
                else:
                    tensors.append(value)
                    # Watched is perhaps a weight of this very module.
                    is_special = value.records_gradient or value.is_watched or value.is_marked
                    key.append(_describe(value) if is_special else value.meta_number)
            elif type(value) is tuple:  # as the pairs of a KV cache are; asking what it is not would take longer
                key.append((tuple, len(value)))
                self.take(value)
            elif isinstance(value, torch.Tensor):
                self._take_host_tensor(value)
            elif isinstance(value, CONSTANTS):
                if has_attributes(value):
                    raise UnplannableError(f"a value of type {type(value).__name__}, which has attributes")
                # 0.0 and -0.0 are equal, as parts of complex numbers too, and 0 and False.
                is_exact = value and type(value) is not complex
                key.append((type(value), value) if is_exact else (type(value), repr(value)))
            elif isinstance(value, tuple):
                key.append((type(value), len(value)))
                self.take(value)
            else:
                self._take_container(value)

    def _take_host_tensor(self, value: torch.Tensor) -> None:
        known = self._numbers.setdefault(id(value), len(self.tensors))
        if known < len(self.tensors):
            self.key.append(("tensor again", known))
        elif value.dim():
            raise UnplannableError(f"an argument on {value.device}")
        else:
            self.hosts[len(self.tensors)] = value
            self.tensors.append(upload(value))
            self.key.append(("host", self.tensors[-1].meta_number))

    @property
    def originals(self) -> Sequence[torch.Tensor]:
        """The tensors as the caller passed them."""
        if not self.hosts:
            return self.tensors
        return [self.hosts.get(number, tensor) for number, tensor in enumerate(self.tensors)]

    def _take_container(self, value: Any) -> None:
        known = self._numbers.setdefault(id(value), len(self.containers))
        if known < len(self.containers):
            self.key.append(("again", known))
            return
        self.containers.append(value)
        kind = kind_of(value)
        self.key.append((type(value), kind.key(value)))
        self.take(kind.children(value))


def _describe(tensor: RemoteTensor) -> tuple[Any, ...]:
    if carries_mask(tensor):
        raise UnplannableError("an argument is a padded batch that carries its mask")
    if tensor.is_marked and not tensor.is_watched:
        raise UnplannableError("an argument has attributes that somebody attached")
    return "tensor", tensor.meta_number, tensor.requires_grad, tensor.is_watched


def copy_containers(
    arguments: Arguments, values: list[Any], replace: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[list[Any], list[Any]]:
    """Copy values that were taken apart, with every tensor replaced.

    Args:
        arguments: what was found.
        values: what was taken apart, in order.
        replace: called for each distinct tensor, in order.

    Returns:
        The copies of the values, and the copies of the containers in them, in order.
    """
    replaced: dict[int, torch.Tensor] = {}
    copies = {id(container): make_empty(type(container)) for container in arguments.containers}
    filled: set[int] = set()

    def copied(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if id(value) not in replaced:
                replaced[id(value)] = replace(value)
            return replaced[id(value)]
        if isinstance(value, CONSTANTS):
            return value
        if isinstance(value, tuple):
            return make_tuple(type(value), [copied(item) for item in value])
        if id(value) not in filled:
            filled.add(id(value))
            kind = kind_of(value)
            kind.fill(copies[id(value)], kind.names(value), [copied(child) for child in kind.children(value)])
        return copies[id(value)]

    return [copied(value) for value in values], list(copies.values())
