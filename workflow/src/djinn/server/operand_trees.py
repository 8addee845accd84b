"""Operands, however they are nested, as an operator takes them: tensors in place of references to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from djinn.core import ValueRef
from djinn.protocol.operands import OwnDevice


def filled(operand: Any, tensors: Sequence[torch.Tensor] | Mapping[int, torch.Tensor], device: torch.device) -> Any:
    """Return an operand tree with tensors in place of their indices, and with this device in place of the server's own."""
    if isinstance(operand, ValueRef):
        return tensors[operand.index]
    if isinstance(operand, tuple | list):
        return [filled(item, tensors, device) for item in operand]
    if isinstance(operand, dict):
        return {name: filled(item, tensors, device) for name, item in operand.items()}
    return device if isinstance(operand, OwnDevice) else operand
