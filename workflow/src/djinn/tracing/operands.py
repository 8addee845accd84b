"""What an operation is given while it is recorded: phantoms, tensors from outside of the simulation, and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from djinn.tracing.phantom import Phantom, UnplannableError

UNEXPLAINED = "a tensor that the call's arguments and operations do not explain"


class Operands:
    """One walk over an operation's operands.

    Attributes:
        phantoms: those among them, and those that stand for others of them.
        others: all other tensors.
        key: what the memo of outcomes distinguishes.
        has_originals: whether phantoms stand for some of them.
        strays: phantoms of other simulations.
    """

    __slots__ = ("_phantoms_by_original", "_recorder", "has_originals", "key", "others", "phantoms", "strays")

    def __init__(self, recorder: object, phantoms_by_original: Mapping[int, Phantom]) -> None:
        """Begin a walk.

        Args:
            recorder: whose phantoms may be among the operands.
            phantoms_by_original: what stands for tensors from outside of the simulation, by their `id`.
        """
        self._recorder = recorder
        self._phantoms_by_original = phantoms_by_original
        self.phantoms: list[Phantom] = []
        self.others: list[torch.Tensor] = []
        self.key: list[Any] = []
        self.has_originals = False
        self.strays: list[Phantom] = []

    def take(self, operand: Any) -> Any:
        """Return an operand tree with references in place of phantoms.

        Raises:
            UnplannableError: an explicit random generator.
        """
        if isinstance(operand, Phantom):
            (self.phantoms if operand.recorder is self._recorder else self.strays).append(operand)
            self.key.append(operand.meta_number)
            return operand.ref
        if isinstance(operand, tuple | list):
            self.key.append((type(operand), len(operand)))
            return tuple([self.take(item) for item in operand])
        if isinstance(operand, dict):
            self.key.append(tuple(operand))
            return {name: self.take(item) for name, item in operand.items()}
        if isinstance(operand, torch.Tensor):
            phantom = self._phantoms_by_original.get(id(operand))
            if phantom is not None:
                self.has_originals = True
                return self.take(phantom)
            self.others.append(operand)
        if isinstance(operand, torch.Generator):
            raise UnplannableError("an explicit random generator")
        # 1, 1.0 and True are equal keys but different operands.
        self.key.append((type(operand), operand))
        return operand

    def stand_in(self, operand: Any) -> Any:
        """Return an operand tree with phantoms in place of the tensors that they stand for."""
        return replaced(operand, self._phantoms_by_original)


def replaced(operand: Any, by_id: Mapping[int, torch.Tensor]) -> Any:
    """Return an operand tree with other tensors in place of some, by their `id`."""
    if isinstance(operand, tuple | list):
        return type(operand)([replaced(item, by_id) for item in operand])
    if isinstance(operand, dict):
        return {name: replaced(item, by_id) for name, item in operand.items()}
    return by_id.get(id(operand), operand)


def own(tensor: torch.Tensor, recorder: object) -> Phantom:
    """Return a phantom of this recorder.

    Raises:
        UnplannableError: the tensor is none.
    """
    if not isinstance(tensor, Phantom) or tensor.recorder is not recorder:
        raise UnplannableError(UNEXPLAINED)
    return tensor
