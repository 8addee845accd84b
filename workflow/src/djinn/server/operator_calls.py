"""Operator calls as the server makes them: decoded and looked up once, however often they are repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from djinn.core import ValueRef, value_refs
from djinn.errors import PlanError, ProtocolError
from djinn.protocol.codec import decode_call
from djinn.protocol.messages import OperatorCall
from djinn.server.elements import default_dtype
from djinn.server.operand_trees import filled
from djinn.server.operators import Operator, function_of, resolve

# A program repeats some dozens, of some forty bytes. A longer one is decoded anew: of nested lists, each byte would be kept as
# sixty-four.
_MAX_KNOWN, _MAX_KNOWN_BYTES = 1024, 512


@dataclass(frozen=True, slots=True)
class KnownCall:
    """An operator with all of its arguments but the tensors.

    Attributes:
        name: of the operator.
        function: what is called.
        args, kwargs: arguments that are known; tensors among them are numbers, unless `leads_with_tensors`.
        leads_with_tensors: whether the tensors are the first arguments, and `args` those that follow.
        num_tensors: of how many it is made.
        written: numbers of those that it writes to.
        default_dtype: torch's while it is made.
        uses_random_numbers: whether it draws from a generator.
    """

    name: str
    function: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]
    leads_with_tensors: bool
    num_tensors: int
    written: list[int]
    default_dtype: torch.dtype
    uses_random_numbers: bool


class KnownCalls:
    """The calls that were made lately."""

    def __init__(self, device: torch.device) -> None:
        """Make calls on this device where they ask for the server's own."""
        self._device = device
        self._known = lru_cache(_MAX_KNOWN)(self._learn)

    def find(self, encoded: bytes, num_tensors: int) -> KnownCall:
        """Return the call that these bytes are, to be made on so many tensors.

        Raises:
            ProtocolError: they are none.
            UnsupportedOperatorError: an operator that the server does not run.
            PlanError: it is made on another number of tensors, or is not as clients write it.
        """
        call = self._known(encoded) if len(encoded) <= _MAX_KNOWN_BYTES else self._learn(encoded)
        if call.num_tensors != num_tensors:
            raise PlanError(
                f"Operator {call.name} was called on {num_tensors} tensors, but names {call.num_tensors}; name each once."
            )
        return call

    def make(self, call: KnownCall, tensors: Sequence[torch.Tensor]) -> Any:
        """Make a call on these tensors; raises what the operator raises."""
        if call.leads_with_tensors:
            return call.function(*tensors, *call.args, **call.kwargs)
        args, kwargs = filled((call.args, call.kwargs), tensors, self._device)
        return call.function(*args, **kwargs)

    def _learn(self, encoded: bytes) -> KnownCall:
        call = decode_call(encoded)
        operator = resolve(call.operator)
        operator.check_arguments(call.args, call.kwargs)
        try:
            return self._taken_apart(call, operator)
        except RecursionError as error:
            raise ProtocolError(f"Operator {call.operator} has arguments nested too deep; nest them less.") from error

    def _taken_apart(self, call: OperatorCall, operator: Operator) -> KnownCall:
        numbers = list(value_refs((call.args, call.kwargs)))
        if numbers != list(range(len(numbers))):
            raise PlanError(f"Operator {call.operator} names its tensors {numbers}; number them in order, from 0.")
        first, rest = call.args[: len(numbers)], call.args[len(numbers) :]
        leads = first == [ValueRef(number) for number in numbers]
        args, kwargs = filled((rest, call.kwargs), (), self._device) if leads else (call.args, call.kwargs)
        return KnownCall(
            name=call.operator,
            function=function_of(operator.call),
            args=args,
            kwargs=kwargs,
            leads_with_tensors=leads,
            num_tensors=len(numbers),
            written=operator.written_values(call.args, call.kwargs),
            default_dtype=default_dtype(call.default_dtype_code),
            uses_random_numbers=operator.uses_random_numbers,
        )
