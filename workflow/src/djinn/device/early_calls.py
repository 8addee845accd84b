"""Calls that are sent before it is known that their plans hold, and confirmed when it is.

Looking whether a module and its arguments are what they were takes the client about as long as the server takes to
prepare a call. So a call that looks like the last one of its module is sent first, and the server prepares it meanwhile: as a
processor follows a branch, without an effect before the branch is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from djinn.device.arguments import Arguments
from djinn.device.execution import Execution
from djinn.device.planner import ClientPlan
from djinn.device.tensor import RemoteTensor

# Modules whose calls are withdrawn more often than this, at first and then in proportion, are looked at before.
_MAX_IN_VAIN, _IN_VAIN_SHARE = 8, 1 / 16


@dataclass(slots=True)
class _LastCall:
    """A call whose plan was found; no tensor is kept for it.

    Attributes:
        plan: that plan.
        names: of its keyword arguments.
        likenesses: for each tensor that was an argument itself the number of its metadata, for any other argument its address.
        places: among all tensors of those that were arguments themselves, otherwise None.
        input_ids: identifiers of the tensors, those in lists and other containers included.
    """

    plan: ClientPlan
    names: tuple[str, ...]
    likenesses: list[int]
    places: list[int | None]
    input_ids: list[int]


class EarlyCalls:
    """Those of one module.

    Attributes:
        num_in_vain: how many were withdrawn, or confirmed too late.
    """

    __slots__ = ("_last", "_num_sent", "num_in_vain")

    def __init__(self) -> None:
        self._last: _LastCall | None = None
        self._num_sent = self.num_in_vain = 0

    def send(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Execution | None:
        """Send a call provisionally if it looks like the last one; `settle` has to follow. Raises as `Execution` does."""
        last = self._last
        if last is None:
            return None
        values, plan = args, last.plan
        if kwargs or last.names:
            if tuple(kwargs) != last.names:
                return None
            values = (*args, *kwargs.values())
        if plan.is_dropped or len(values) != len(last.likenesses):
            return None
        input_ids, client = last.input_ids.copy(), plan.client
        pending: Sequence[tuple[int, RemoteTensor]] = ()
        for value, likeness, place in zip(values, last.likenesses, last.places, strict=True):
            if place is None:
                if id(value) != likeness:
                    return None
                continue
            if type(value) is not RemoteTensor or value.meta_number != likeness:
                return None
            handle = value.handle
            if handle.client is not client:
                return None
            input_ids[place] = handle.tensor_id
            if handle.pending is not None:
                pending = (*pending, (place, value))
        early = Execution.send(plan, input_ids, pending, is_provisional=True)
        self._num_sent += 1
        return early

    def settle(self, early: Execution, key: tuple[Any, ...], tensors: list[RemoteTensor]) -> bool:
        """Confirm a call if this is its key and these are its tensors, otherwise withdraw it, and tell which.

        Raises:
            ConnectionFailedError: the server is gone.
        """
        if early.is_of(key, tensors):
            early.confirm()
            return True
        self.note_in_vain()
        early.withdraw()
        return False

    def note_in_vain(self) -> None:
        """Expect no call like the last one."""
        self._last = None
        self.num_in_vain += 1

    def expect(self, plan: ClientPlan, args: tuple[Any, ...], kwargs: dict[str, Any], arguments: Arguments) -> None:
        """Expect a call like this one, whose plan was found and which was sent."""
        is_rewarding = self.num_in_vain < _MAX_IN_VAIN + self._num_sent * _IN_VAIN_SHARE
        # A scalar from the host is another tensor at each call.
        if not is_rewarding or arguments.hosts or not plan.may_be_early:
            return
        tensors = arguments.tensors
        inner = {id(tensor): place for place, tensor in enumerate(tensors)}
        values = (*args, *kwargs.values())
        places = [inner.pop(id(value), None) for value in values]
        likenesses = [
            id(value) if place is None else tensors[place].meta_number
            for value, place in zip(values, places, strict=True)
        ]
        outer = [place for place in places if place is not None]
        # What a container holds may have gone along with this call and be unknown to the server still.
        is_known = all(tensors[place].handle.pending is None for place in inner.values())
        if is_known and outer == sorted(outer):
            input_ids = [tensor.handle.tensor_id for tensor in tensors]
            self._last = _LastCall(plan, tuple(kwargs), likenesses, places, input_ids)
