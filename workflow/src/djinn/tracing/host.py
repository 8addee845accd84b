"""What forward computes on the host while it is simulated: that is computed for real, and its inputs are remembered.

Results become constants of the trace where operations on the device take them. They hold as long as the tensors that
existed before the call have the same elements, which whoever replays the trace has to check.
"""

from __future__ import annotations

from typing import Any

import torch

from djinn.tracing.overloads import LITERALS, Facts
from djinn.tracing.phantom import SideEffectError, UnplannableError

# Comparing more than this at each call would cost more than a plan saves.
_MAX_READ_BYTES = 1 << 20


class HostSide:
    """Tensors on the host that one simulation met."""

    def __init__(self) -> None:
        self._made: dict[int, torch.UntypedStorage] = {}
        self._read: dict[int, torch.Tensor] = {}

    def run(self, func: Any, facts: Facts, call: tuple[Any, Any], operands: list[torch.Tensor]) -> Any:
        """Run an operation whose operands are all on the host.

        Raises:
            UnplannableError: it writes to a tensor that existed before the call.
            SideEffectError: it draws random numbers, of which the same program has others when it is replayed.
            Exception: what the operation raises.
        """
        if facts.draws_numbers:
            raise SideEffectError("forward draws random numbers on the host")
        args, kwargs = call
        if func in LITERALS:
            self._note_made(operands[0])
        elif facts.written and not all(map(self._is_made, operands)):
            raise UnplannableError(f"{facts.name} writes to a host tensor")
        for operand in operands:
            self.note_read(operand)
        result = func(*args, **kwargs) if func.namespace == "aten" else _run_other(func, args, kwargs)
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, torch.Tensor) and not any(_share_storage(made, operand) for operand in operands):
                self._note_made(made)
        return result

    def note_read(self, operand: torch.Tensor) -> None:
        """Remember a tensor that existed before the call.

        Raises:
            UnplannableError: it is too large to be compared at each call.
        """
        if self._is_made(operand):
            return
        if operand.nbytes > _MAX_READ_BYTES:
            raise UnplannableError(f"forward reads {operand.nbytes} bytes of a host tensor")
        self._read[id(operand)] = operand

    @property
    def reads(self) -> tuple[torch.Tensor, ...]:
        """The tensors that existed before the call."""
        return tuple(self._read.values())

    def _note_made(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        self._made[storage._cdata] = storage

    def _is_made(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._made


def _run_other(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operator whose facts do not say whether what it consists of draws random numbers.

    Raises:
        SideEffectError: it does, or seeds them.
    """
    state = torch.get_rng_state()
    result = func(*args, **kwargs)
    if not torch.equal(torch.get_rng_state(), state):
        torch.default_generator.set_state(state)
        raise SideEffectError("forward draws random numbers on the host")
    return result


def _share_storage(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(one.untyped_storage()._cdata == other.untyped_storage()._cdata)
