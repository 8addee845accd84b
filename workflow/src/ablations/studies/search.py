"""Finds the largest number that succeeds, for a success that is noisy and costly to try.

The bracket starts at a prediction and grows, in steps that grow, until one end succeeds and the other
fails, so that nothing caps the answer; then it is halved on a logarithmic scale. The boundary is tried again while the
budget of probes lasts, because one success or failure there may be chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

# A prediction is rarely off by more; what it is, the growing steps find. Simulated for the signal study, three probes
# close the bracket as far with a tenth as four do with a quarter.
_FIRST_STEP = 1.1


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

    @property
    def middle(self) -> float:
        """Where success probably ends: halfway between the two on a logarithmic scale, or at the success if they are neighbours.

        0 if none succeeded: a search that has not seen a success says nothing of where one is.
        """
        success, failure = self.largest_success, self.smallest_failure
        if failure is None or failure - success <= 1:
            return float(success)
        return math.sqrt(success * failure)


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

    def note(self, number: int, *, is_success: bool) -> None:
        """Take in an outcome that was seen before and costs nothing."""
        self.outcomes.setdefault(number, []).append(is_success)

    def run(self, number: int) -> None:
        """Probe a number once."""
        self._remaining -= 1
        self.outcomes.setdefault(number, []).append(self._probe(number))

    def boundary(self, tolerance: float) -> Boundary:
        """Read the boundary off all outcomes."""
        failures = sorted(number for number in self.outcomes if not self._is_success(number))
        successes = [number for number in self.outcomes if self._is_success(number)]
        smallest = failures[0] if failures else None
        largest = max((number for number in successes if smallest is None or number < smallest), default=0)
        is_open = smallest is None or smallest - largest > max(1, int(tolerance * largest))
        return Boundary(largest, smallest, is_open)

    def _is_success(self, number: int) -> bool:
        """Tell whether most probes of a number succeeded; ties count as failures."""
        outcomes = self.outcomes[number]
        return 2 * sum(outcomes) > len(outcomes)


def find_boundary(
    probe: Callable[[int], bool],
    *,
    start: int,
    max_probes: int,
    tolerance: float = 0.05,
    known: tuple[int, bool] | None = None,
) -> Boundary:
    """Search the largest number for which `probe` succeeds.

    Args:
        probe: tries a number once.
        start: where to begin, at least 1; a prediction, not a limit.
        max_probes: budget.
        tolerance: relative width at which the bracket is narrow enough; neighbours always are.
        known: a number that was tried before, and whether it succeeded; no part of the budget.
    """
    tries = Tries(probe, max_probes)
    step, growth = _FIRST_STEP, 1.0
    is_decided = False
    if known is not None:
        number, is_success = known
        is_decided = number >= start if is_success else number <= start
        # A failure above the prediction would only draw the search away from it.
        if is_success or is_decided:
            tries.note(number, is_success=is_success)
    if not is_decided:
        tries.run(start)
    while not tries.is_exhausted:
        found = tries.boundary(tolerance)
        if found.smallest_failure is None:
            tries.run(max(found.largest_success + 1, round(found.largest_success * step)))
            step, growth = step * growth, step
        elif found.largest_success == 0 and found.smallest_failure > 1:
            tries.run(min(found.smallest_failure - 1, max(1, round(found.smallest_failure / step))))
            step, growth = step * growth, step
        elif found.is_budget_hit:
            tries.run(_between(found.largest_success, found.smallest_failure))
        elif not _confirm(tries, found):
            break
    return tries.boundary(tolerance)


def _between(success: int, failure: int) -> int:
    return min(failure - 1, max(success + 1, round(math.sqrt(max(success, 1) * failure))))


def _confirm(tries: Tries, found: Boundary) -> bool:
    """Probe a side of the boundary that was probed only once; tell whether there was one."""
    for number in (found.largest_success, found.smallest_failure):
        if number and len(tries.outcomes[number]) < 2:
            tries.run(number)
            return True
    return False
