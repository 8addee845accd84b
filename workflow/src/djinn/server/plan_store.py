"""The plans of one client by identifier."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field

import torch

from djinn.errors import UnknownPlanError
from djinn.planning.plan import MemoryPlan
from djinn.server.binding import Binding
from djinn.server.table import Entry
from djinn.units import GiB


@dataclass(slots=True)
class StoredPlan:
    """A plan of one client with its weights; bound to memory.

    Attributes:
        session_ids: the sessions in whose arenas weights lie.
        num_arguments: how many tensors a call names besides the weights.
        written_weights: those that the plan writes to.
        is_self_contained: whether it computes the same whatever this process's default dtype and random numbers are.
        is_dropped: whether it is not kept any more, so that its weights may go before it runs.
        use_number: larger than those of plans that were used earlier.
    """

    plan: MemoryPlan
    binding: Binding
    weight_ids: list[int]
    weights: list[Entry]
    session_ids: list[str]
    is_dropped: bool = False
    use_number: int = -1
    num_arguments: int = field(init=False)
    written_weights: list[Entry] = field(init=False)
    is_self_contained: bool = field(init=False)

    def __post_init__(self) -> None:
        trace, written = self.plan.trace, self.binding.written_inputs
        self.num_arguments = trace.num_inputs - len(self.weights)
        self.is_self_contained = trace.default_dtype is torch.float32 and not self.binding.uses_random_numbers
        self.written_weights = [weight for number, weight in enumerate(self.weights) if number in written]


# What a client keeps itself is far below; one that never drops plans loses those that it used least recently.
MAX_PLANS = 1024
MAX_HELD_BYTES = 4 * GiB


class PlanStore:
    """The plans of one client, dropped with any of their weights, and the oldest ones where there are too many.

    Connections of the client add and drop at the same time.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._plans: dict[int, StoredPlan] = {}
        self._use_numbers = itertools.count()
        self._by_weight: dict[int, set[int]] = {}
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._plans)

    @property
    def held_bytes(self) -> int:
        """Memory that the plans keep beside the Stack."""
        return sum(stored.binding.held_bytes for stored in list(self._plans.values()))

    def add(self, stored: StoredPlan) -> int:
        """Keep a plan and return its identifier."""
        with self._lock:
            plan_id = self._next_id
            self._next_id += 1
            self._plans[plan_id] = stored
            stored.use_number = next(self._use_numbers)
            for weight_id in stored.weight_ids:
                self._by_weight.setdefault(weight_id, set()).add(plan_id)
            self._drop_oldest(plan_id)
        return plan_id

    def get(self, plan_id: int) -> StoredPlan:
        """Return a plan.

        Raises:
            UnknownPlanError: it was dropped.
        """
        stored = self._plans.get(plan_id)
        if stored is None:
            raise UnknownPlanError(f"Plan {plan_id} is not held any more; plan the call again.")
        stored.use_number = next(self._use_numbers)
        return stored

    def drop(self, plan_id: int) -> None:
        """Forget a plan; unknown identifiers are ignored."""
        with self._lock:
            stored = self._plans.pop(plan_id, None)
            if stored is not None:
                stored.is_dropped = True
                for weight_id in stored.weight_ids:
                    self._by_weight.get(weight_id, set()).discard(plan_id)

    def drop_users_of(self, weight_id: int) -> None:
        """Forget the plans that read a weight which is being freed."""
        if weight_id in self._by_weight:
            with self._lock:
                for plan_id in list(self._by_weight.pop(weight_id, set())):
                    self.drop(plan_id)

    def _drop_oldest(self, kept_id: int) -> None:
        by_age = sorted(self._plans.items(), key=lambda item: item[1].use_number)
        held_bytes = {plan_id: stored.binding.held_bytes for plan_id, stored in by_age}
        total_bytes = sum(held_bytes.values())
        for plan_id in list(held_bytes):
            if plan_id == kept_id or (len(held_bytes) <= MAX_PLANS and total_bytes <= MAX_HELD_BYTES):
                return
            total_bytes -= held_bytes.pop(plan_id)
            self.drop(plan_id)
