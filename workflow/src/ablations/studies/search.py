"""Finds the largest number that succeeds, for a success that is noisy and costly to try.

The bracket starts at a prediction and grows by doubling until something fails, so that nothing caps the answer; then
it is halved. The boundary is tried again while the budget of probes lasts, because one success or failure there may be
chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where success ends.

    Attributes:
        largest_success: largest number for which most probes succeeded; 0 if none did.
        smallest_failure: smallest number above it for which most probes failed; None if the probes ran out before one.
        is_budget_hit: whether probes ran out before the two were neighbours within the tolerance.
    """

    largest_success: int
    smallest_failure: int | None
    is_budget_hit: bool


class Tries:
    """Outcomes so far for each number."""

    def __init__(self, probe: Callable[[int], bool], max_probes: int) -> None:
        self._probe = probe
        self._remaining = max_probes
        self.outcomes: dict[int, list[bool]] = {}

    @property
    def is_exhausted(self) -> bool:
        """Tell whether no probe is left."""
        return self._remaining <= 0

    def succeeds(self, number: int) -> bool:
        """Probe a number once and tell whether most of its probes succeeded; ties count as failures."""
        self._remaining -= 1
        self.outcomes.setdefault(number, []).append(self._probe(number))
        return self._verdict(number)

    def boundary(self, tolerance: float) -> Boundary:
        """Read the boundary off all outcomes."""
        failures = sorted(number for number in self.outcomes if not self._verdict(number))
        largest = 0
        for number in sorted(self.outcomes):
            if self._verdict(number) and (not failures or number < failures[0]):
                largest = number
        smallest = failures[0] if failures else None
        is_open = smallest is None or smallest - largest > max(1, int(tolerance * largest))
        return Boundary(largest, smallest, is_open)

    def _verdict(self, number: int) -> bool:
        outcomes = self.outcomes[number]
        return 2 * sum(outcomes) > len(outcomes)


def find_boundary(probe: Callable[[int], bool], *, start: int, max_probes: int, tolerance: float = 0.05) -> Boundary:
    """Search the largest number for which `probe` succeeds.

    Args:
        probe: tries a number once.
        start: where to begin, at least 1; a prediction, not a limit.
        max_probes: budget.
        tolerance: relative width at which the bracket is narrow enough; neighbours always are.
    """
    tries = Tries(probe, max_probes)
    number = start
    while not tries.is_exhausted and tries.succeeds(number):
        number *= 2
    while not tries.is_exhausted:
        found = tries.boundary(tolerance)
        if found.smallest_failure is None:
            tries.succeeds(2 * found.largest_success)
        elif found.is_budget_hit:
            tries.succeeds((found.largest_success + found.smallest_failure) // 2)
        elif not _confirm(tries, found):
            break
    return tries.boundary(tolerance)


def _confirm(tries: Tries, found: Boundary) -> bool:
    """Probe a side of the boundary that was probed only once; tell whether there was one."""
    for number in (found.largest_success, found.smallest_failure):
        if number and len(tries.outcomes[number]) < 2:
            tries.succeeds(number)
            return True
    return False
