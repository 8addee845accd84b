"""Short calls, which are sent before it is known that their plans hold.

Looking whether a module is what it was takes the client a part of the time that a small plan takes the server. So a call that
looks like the last one of its module is sent first and the module looked at meanwhile, as a processor executes what
follows a branch. Only plans whose execution changes nothing are sent so: in vain means that their results are freed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from djinn.device.execution import Execution, are_same
from djinn.device.planner import ClientPlan
from djinn.device.tensor import RemoteTensor

# What is won is what looking takes, 5 to 20 us, which does not show in longer calls; what is lost is an execution.
MAX_EARLY_US = 1_000.0
# The calls of a module that keeps changing are looked at first.
_MAX_IN_VAIN = 8


@dataclass(slots=True)
class _LastCall:
    """A call whose plan was found.

    Attributes:
        plan: that plan.
        meta_numbers: metadata of the arguments, which were different tensors and nothing else.
    """

    plan: ClientPlan
    meta_numbers: tuple[int, ...]


class EarlyCalls:
    """Those of one module.

    Attributes:
        num_in_vain: how many were abandoned.
    """

    __slots__ = ("_last", "num_in_vain")

    def __init__(self) -> None:
        self._last: _LastCall | None = None
        self.num_in_vain = 0

    def send(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Execution | None:
        """Execute the last call's plan if this call looks like it; raises as `Execution` does."""
        last = self._last
        if last is None or kwargs or len(args) != len(last.meta_numbers):
            return None
        for value, number in zip(args, last.meta_numbers, strict=True):
            if type(value) is not RemoteTensor or value.meta_number != number or value.handle.pending is not None:
                return None
        if last.plan.is_dropped or last.plan.expected_us > MAX_EARLY_US:
            return None
        return Execution(last.plan, args)

    def expect(
        self, plan: ClientPlan, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[RemoteTensor]
    ) -> None:
        """Note a call whose plan was found, with the tensors that it was passed."""
        is_plain = not kwargs and are_same(args, tensors)
        if plan.may_be_early and is_plain and self.num_in_vain < _MAX_IN_VAIN:
            self._last = _LastCall(plan, tuple(tensor.meta_number for tensor in tensors))

    def give_up(self, early: Execution) -> None:
        """Abandon a call that was not what it looked like; raises as that does."""
        self._last = None
        self.num_in_vain += 1
        early.abandon()
