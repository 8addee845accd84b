"""How to rebuild what a call returned, and what it did to its arguments, from the outputs of its plan.

A simulation runs on copies of the caller's containers. What it returns, and every copy that it changed, is written
down as a recipe, which each later call of the plan follows on the containers that its caller passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from djinn.device.snapshot import Snapshot
from djinn.device.structure import CONSTANTS, kind_of, make_empty, make_tuple
from djinn.tracing import Phantom, UnplannableError


@dataclass(slots=True)
class Materials:
    """What one call's recipes draw on.

    Attributes:
        weights: those of the module, in order; none for a plan that returns nothing of them.
        arguments: the tensors that it was passed, in order.
        outputs: the plan's outputs.
        containers: the caller's.
        made: containers made so far, by number.
    """

    weights: Sequence[torch.Tensor]
    arguments: Sequence[torch.Tensor]
    outputs: list[Any]
    containers: list[Any]
    made: dict[int, Any] = field(default_factory=dict)


Recipe = Callable[[Materials], Any]


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any

    def __call__(self, materials: Materials) -> Any:
        return self.value


@dataclass(frozen=True, slots=True)
class _Weight:
    number: int

    def __call__(self, materials: Materials) -> Any:
        return materials.weights[self.number]


@dataclass(frozen=True, slots=True)
class _Argument:
    number: int

    def __call__(self, materials: Materials) -> Any:
        return materials.arguments[self.number]


@dataclass(frozen=True, slots=True)
class _Output:
    number: int

    def __call__(self, materials: Materials) -> Any:
        return materials.outputs[self.number]


FIRST_OUTPUT = _Output(0)


@dataclass(frozen=True, slots=True)
class _Container:
    number: int

    def __call__(self, materials: Materials) -> Any:
        return materials.containers[self.number]


@dataclass(frozen=True, slots=True)
class _Tuple:
    cls: type
    parts: tuple[Recipe, ...]

    def __call__(self, materials: Materials) -> Any:
        return make_tuple(self.cls, [part(materials) for part in self.parts])


@dataclass(frozen=True, slots=True)
class _New:
    """A container that the call made; mentioned twice, it is still one."""

    number: int
    cls: type
    names: Any
    parts: tuple[Recipe, ...]

    def __call__(self, materials: Materials) -> Any:
        if self.number not in materials.made:
            made = materials.made[self.number] = make_empty(self.cls)
            kind_of(made).fill(made, self.names, [part(materials) for part in self.parts])
        return materials.made[self.number]


@dataclass(frozen=True, slots=True)
class Effect:
    """New contents of one of the caller's containers."""

    number: int
    names: Any
    parts: tuple[Recipe, ...]

    def apply(self, materials: Materials) -> None:
        """Change the caller's container as the call would have."""
        container = materials.containers[self.number]
        kind_of(container).fill(container, self.names, [part(materials) for part in self.parts])


class Describer:
    """Writes recipes after a simulation.

    Attributes:
        outputs: the tensors that the recipes draw on, to be the trace's outputs.
        returns_weights: whether any of the recipes draws on a weight.
    """

    def __init__(
        self,
        inputs: Sequence[torch.Tensor],
        weights: Sequence[torch.Tensor],
        containers: Sequence[Any],
        snapshot: Snapshot,
    ) -> None:
        """Note what the containers hold, before the simulation.

        Args:
            inputs: the phantoms of all inputs.
            weights: what the first of them stand for; a call may return either.
            containers: copies of the caller's.
            snapshot: of what the module keeps.
        """
        self.outputs: list[torch.Tensor] = []
        self.returns_weights = False
        self._num_weights = len(weights)
        self._snapshot = snapshot
        self._inputs = {id(tensor): number for group in (inputs, weights) for number, tensor in enumerate(group)}
        self._containers = {id(container): number for number, container in enumerate(containers)}
        self._before = [(container, _contents(container)) for container in containers]
        self._positions: dict[int, int] = {}
        self._made: dict[int, Recipe | None] = {}
        self._keep_alive: list[Any] = []  # containers are told apart by identity

    def describe(self, value: Any) -> Recipe:
        """Write the recipe of a value that the call returned.

        Raises:
            UnplannableError: a value whose parts do not say everything about it, or that contains itself.
        """
        if isinstance(value, torch.Tensor):
            return self._describe_tensor(value)
        if isinstance(value, CONSTANTS):
            return _Constant(value)
        if isinstance(value, tuple):
            return _Tuple(type(value), tuple(self.describe(item) for item in value))
        if id(value) in self._containers:
            return _Container(self._containers[id(value)])
        return self._describe_container(value)

    def effects(self) -> tuple[Effect, ...]:
        """Write down what the call did to the containers; raises as `describe` does."""
        found = []
        for number, (container, before) in enumerate(self._before):
            names, children = _contents(container)
            if names != before[0] or any(new is not old for new, old in zip(children, before[1], strict=True)):
                found.append(Effect(number, names, tuple(self.describe(child) for child in children)))
        return tuple(found)

    def _describe_container(self, value: Any) -> Recipe:
        if id(value) in self._made:
            recipe = self._made[id(value)]
            if recipe is None:
                raise UnplannableError(f"a returned {type(value).__name__} contains itself")
            return recipe
        if self._snapshot.keeps_any((value,)):
            raise UnplannableError(f"forward returns a {type(value).__name__} that the module keeps")
        number = len(self._made)
        self._made[id(value)] = None
        self._keep_alive.append(value)
        names, children = _contents(value)
        recipe = _New(number, type(value), names, tuple(self.describe(child) for child in children))
        self._made[id(value)] = recipe
        return recipe

    def _describe_tensor(self, tensor: torch.Tensor) -> Recipe:
        number = self._inputs.get(id(tensor))
        if number is not None:
            if number >= self._num_weights:
                return _Argument(number - self._num_weights)
            self.returns_weights = True
            return _Weight(number)
        if isinstance(tensor, Phantom) and tensor.has_attributes:
            raise UnplannableError("forward attaches attributes to what it returns")
        position = self._positions.setdefault(id(tensor), len(self.outputs))
        if position == len(self.outputs):
            self.outputs.append(tensor)
        return _Output(position)


def _contents(container: Any) -> tuple[Any, list[Any]]:
    kind = kind_of(container)
    return kind.names(container), kind.children(container)
