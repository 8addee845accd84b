"""The plans of one client by identifier."""

from __future__ import annotations

from dataclasses import dataclass

from djinn.errors import UnknownPlanError
from djinn.planning.plan import MemoryPlan
from djinn.server.binding import Binding
from djinn.server.table import Entry


@dataclass(slots=True)
class StoredPlan:
    """A plan of one client with its weights; bound to memory."""

    plan: MemoryPlan
    binding: Binding
    weight_ids: list[int]
    weights: list[Entry]


class PlanStore:
    """The plans of one client, dropped with any of their weights."""

    def __init__(self) -> None:
        self._plans: dict[int, StoredPlan] = {}
        self._by_weight: dict[int, set[int]] = {}
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._plans)

    def add(self, stored: StoredPlan) -> int:
        """Keep a plan and return its identifier."""
        plan_id = self._next_id
        self._next_id += 1
        self._plans[plan_id] = stored
        for weight_id in stored.weight_ids:
            self._by_weight.setdefault(weight_id, set()).add(plan_id)
        return plan_id

    def get(self, plan_id: int) -> StoredPlan:
        """Return a plan.

        Raises:
            UnknownPlanError: it was dropped.
        """
        stored = self._plans.get(plan_id)
        if stored is None:
            raise UnknownPlanError(f"Plan {plan_id} is not held any more; plan the call again.")
        return stored

    def drop(self, plan_id: int) -> None:
        """Forget a plan; unknown identifiers are ignored."""
        stored = self._plans.pop(plan_id, None)
        if stored is not None:
            for weight_id in stored.weight_ids:
                self._by_weight[weight_id].discard(plan_id)

    def drop_users_of(self, weight_id: int) -> None:
        """Forget the plans that read a weight which is being freed."""
        for plan_id in self._by_weight.pop(weight_id, set()):
            stored = self._plans.pop(plan_id)
            for other_id in stored.weight_ids:
                self._by_weight.get(other_id, set()).discard(plan_id)
