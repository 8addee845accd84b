"""Operands that stand for something on the server: a tensor by its identifier, the server's own device.

Plain classes, because the encoder would write dataclasses as maps instead of asking how they travel.
"""

from __future__ import annotations

from typing import Any


class TensorRef:
    """A server tensor by the identifier that its client gave it."""

    __slots__ = ("tensor_id",)

    def __init__(self, tensor_id: int) -> None:
        self.tensor_id = tensor_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorRef) and other.tensor_id == self.tensor_id

    def __hash__(self) -> int:
        return hash(self.tensor_id)

    def __repr__(self) -> str:
        return f"TensorRef({self.tensor_id})"


class OwnDevice:
    """The device that the server computes on, whatever that is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "OWN_DEVICE"


OWN_DEVICE = OwnDevice()


def tensor_ids(operand: Any) -> list[int]:
    """Return the identifiers of all tensors among operands, however they are nested."""
    if isinstance(operand, TensorRef):
        return [operand.tensor_id]
    if isinstance(operand, list | tuple):
        return [tensor_id for item in operand for tensor_id in tensor_ids(item)]
    if isinstance(operand, dict):
        return [tensor_id for item in operand.values() for tensor_id in tensor_ids(item)]
    return []
