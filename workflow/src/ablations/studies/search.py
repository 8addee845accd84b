"""Finds the largest number that succeeds, for a success that is noisy and costly to try.

A try may say more than whether it succeeded: where, as far as it can tell, success ends. The search starts at a
prediction and aims a little beyond what the last try says, until one end of the bracket succeeds and the other fails;
steps grow, so that nothing caps the answer. Within the bracket it goes where the failure points, and halves it on a
logarithmic scale where nothing points anywhere or that has not narrowed it. The boundary is tried again while the
budget of probes lasts, because one success or failure there may be chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

# Without an estimate the next try lies so far from the last one; the steps after it are wider and wider.
_STEP = 1.1
# With one, so far beyond it: between two tries that merely touch it, the bracket would stay as wide as it was.
_MARGIN = 1.05
# A bracket that much wider than its lower end is not aimed into, but closed from above by a success.
_WIDE = 1.15
# Tries that did not halve the bracket, after which it is halved.
_PATIENCE = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a try.

    Attributes:
        is_success: whether the number succeeded.
        estimate: where success ends, as far as this try tells; None if it does not.
    """

    is_success: bool
    estimate: float | None = None


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

    def __init__(self, probe: Callable[[int], Outcome], max_probes: int) -> None:
        self._probe = probe
        self.num_left = max_probes
        self.outcomes: dict[int, list[Outcome]] = {}

    def note(self, number: int, outcome: Outcome) -> None:
        """Take in an outcome that was seen before and costs nothing."""
        self.outcomes.setdefault(number, []).append(outcome)

    def run(self, number: int) -> None:
        """Probe a number once."""
        self.num_left -= 1
        self.note(number, self._probe(number))

    def estimate(self, number: int) -> float | None:
        """Return where success ends according to the tries of a number; None if they do not say."""
        estimates = [outcome.estimate for outcome in self.outcomes.get(number, ()) if outcome.estimate is not None]
        return fmean(estimates) if estimates else None

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
        return 2 * sum(outcome.is_success for outcome in outcomes) > len(outcomes)


def find_boundary(
    probe: Callable[[int], Outcome],
    *,
    start: int,
    max_probes: int,
    tolerance: float = 0.05,
    known: tuple[int, Outcome] | None = None,
) -> Boundary:
    """Search the largest number for which `probe` succeeds.

    Args:
        probe: tries a number once.
        start: where to begin, at least 1; a prediction, not a limit.
        max_probes: budget.
        tolerance: relative width at which the bracket is narrow enough; neighbours always are.
        known: a number that was tried before, and what came of it; no part of the budget.
    """
    tries = Tries(probe, max_probes)
    if known is None or not _take_in(tries, *known, start):
        tries.run(start)
    narrowing = _Narrowing(tries)
    reach = 1.0
    while tries.num_left > 0:
        found = tries.boundary(tolerance)
        success, failure = found.largest_success, found.smallest_failure
        if failure is None:
            tries.run(max(success + 1, round(_beyond(tries, success, 1) * reach)))
            reach *= _STEP
        elif success == 0 and failure > 1:
            tries.run(min(failure - 1, max(1, round(_beyond(tries, failure, -1) / reach))))
            reach *= _STEP
        elif found.is_budget_hit:
            tries.run(narrowing.next_between(success, failure))
        elif not _confirm(tries, found):
            break
    return tries.boundary(tolerance)


def _take_in(tries: Tries, number: int, outcome: Outcome, start: int) -> bool:
    """Note what is known, unless it is a failure above the prediction, and tell whether it decides the prediction."""
    decides = number >= start if outcome.is_success else number <= start
    if outcome.is_success or decides:
        tries.note(number, outcome)
    return decides


def _beyond(tries: Tries, number: int, direction: int) -> float:
    """Return where to try next, upwards (1) or downwards (-1) of a number."""
    estimate = tries.estimate(number)
    return number * _STEP**direction if estimate is None else estimate * _MARGIN**direction


class _Narrowing:
    """Narrows a bracket by what its failures say, and by halves if that is slow."""

    def __init__(self, tries: Tries) -> None:
        self._tries = tries
        self._width = math.inf
        self._num_slow = 0

    def next_between(self, success: int, failure: int) -> int:
        """Return the number to try between a success and a failure that are no neighbours."""
        width = math.log(failure / success)
        self._num_slow = self._num_slow + 1 if width > self._width / 2 else 0
        self._width = width
        # A failure is of a server that is full, where what a try says holds; a success may be far from that.
        place = self._tries.estimate(failure)
        if place is not None and failure > _WIDE * success < place / _MARGIN:
            place /= _MARGIN
        if place is None or not success < place < failure or self._num_slow >= _PATIENCE:
            place = math.sqrt(success * failure)
        return min(failure - 1, max(success + 1, round(place)))


def _confirm(tries: Tries, found: Boundary) -> bool:
    """Probe a side of the boundary that was probed only once; tell whether there was one.

    Not with the last probe: what it refuted could not be looked for any more.
    """
    for number in (found.largest_success, found.smallest_failure):
        if number and len(tries.outcomes[number]) < 2 <= tries.num_left:
            tries.run(number)
            return True
    return False
