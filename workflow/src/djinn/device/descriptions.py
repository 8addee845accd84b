"""What a module is like at a call: described once, and again after it changed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch

from djinn.device.fingerprint import fingerprint, hook_tables
from djinn.device.mutations import Mutations
from djinn.device.snapshot import Snapshot
from djinn.interrupts import is_interrupt
from djinn.tracing import UnplannableError

_MAX_NUMBERS = 64
# A plan costs a simulation, and one that no second call uses is in vain.
_MAX_NEW = 16
_unused_numbers = itertools.count()
_lock = threading.RLock()


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """A module at one time.

    Attributes:
        number: small, the same for equal descriptions of one module, so that plan keys hold no descriptions.
        num_mutations: how many changes had been counted.
        snapshot: of the values whose changes are not counted.
        hook_tables: the live tables of hooks that the module looks into.
        obstacle: why it cannot be described, if so.
    """

    number: int
    num_mutations: int
    snapshot: Snapshot
    hook_tables: list[dict[int, Any]]
    obstacle: str | None

    def is_current(self) -> bool:
        """Tell whether the module is as it was; runs at each call."""
        return self.num_mutations == Mutations.count and self.snapshot.is_unchanged()

    def refusal(self) -> str | None:
        """Return why calls of the module cannot be planned, or None."""
        if self.obstacle is not None:
            return self.obstacle
        return "forward hooks are registered" if any(self.hook_tables) else None


class Descriptions:
    """Those of one module, one after the other."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._last: Description | None = None
        self._called: Description | None = None
        self._num_new = 0

    def current(self, module: torch.nn.Module) -> Description:
        """Return what the module, always the same one, is like now."""
        last = self._last
        if last is None or not last.is_current():
            last = self._last = self._describe(module)
        return last

    def refusal(self, description: Description) -> str | None:
        """Return why a call of the module as described cannot be planned, or None; to be asked once a call."""
        if description is self._called:
            self._num_new = 0
        self._called = description
        if self._num_new > _MAX_NEW:
            return "the module, or what its code mentions, changes between all calls"
        return description.refusal()

    def _describe(self, module: torch.nn.Module) -> Description:
        with _lock:
            num_mutations, tables = Mutations.count, hook_tables(module)
            try:
                described, snapshot = fingerprint(module)
                number = self._number_of(described)
            except UnplannableError as error:
                return Description(-1, num_mutations, Snapshot(), tables, str(error))
            except RuntimeError:  # a dictionary or set that another thread's call of the module changed meanwhile
                return Description(-1, -1, Snapshot(), tables, "the module changed while it was described")
            except Exception as error:  # of what a user made of being looked at or compared
                if is_interrupt(error):
                    raise
                reason = f"describing the module ended in {type(error).__name__}"
                return Description(-1, -1, Snapshot(), tables, reason)
            return Description(number, num_mutations, snapshot, tables, None)

    def _number_of(self, described: Hashable) -> int:
        number = self._numbers.get(described)
        self._num_new = self._num_new + 1 if number is None else 0
        if number is None:
            if len(self._numbers) >= _MAX_NUMBERS:
                self._numbers.clear()  # numbers are not used again: this costs plans and mixes none up
            number = self._numbers[described] = next(_unused_numbers)
        return number
