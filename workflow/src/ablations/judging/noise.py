"""What identical arms differ by, and which claims that leaves undecided."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from ablations.analysis.bounds import decide, invocations_needed, noise_floor_pct
from ablations.analysis.quantity import MIN_INVOCATIONS, Quantity
from ablations.judging.claims import Claim
from ablations.judging.grades import Grade, Verdict, describe, promise, shown_unit


def hidden_by_noise(claim: Claim, result: dict[str, Any], measured: Quantity) -> Verdict | None:
    """Return "inconclusive" where identical arms differ by as much as the claim speaks of.

    That is a bound on an overhead below what they differ by, unless the interval keeps or misses the bound even with that
    difference added; or a gain, of whatever size, that is no larger than that difference.
    """
    floor = _noise(claim, result)
    if floor is None:
        return None
    floor_pct = noise_floor_pct(floor)
    lower, upper = claim.bounds
    # A lower bound alone is a gain's, which is told from no effect below.
    told = [bound for bound in (lower, upper) if bound is not None and upper is not None]
    hidden = [bound for bound in told if _is_hidden(measured, bound, claim, floor_pct)]
    if hidden:
        needed, what = _as_pct(hidden[0], claim), f"the bound is {hidden[0]:g}{shown_unit(claim.unit)}"
    elif lower is not None and claim.no_effect is not None and _is_in_noise(measured, lower, claim, floor_pct):
        needed, what = _as_pct(measured.value, claim), "the gain reaches no further"
    else:
        return None
    pairs_needed = invocations_needed(floor, needed, centre=0.0)
    # Where trials of several modes were paired, there are more or fewer pairs than trials.
    share = measured.num_invocations / floor.num_invocations
    num_needed = None if pairs_needed is None else max(MIN_INVOCATIONS, math.ceil(pairs_needed * share))
    if num_needed is not None and num_needed <= measured.num_invocations:
        num_needed = (
            None  # so many were measured: what the arms differ by is more than scatter, which more would not lessen
        )
    return Verdict(
        grade=Grade.INCONCLUSIVE,
        reason=f"{describe(measured)} is not told from noise: identical arms differ by up to {floor_pct:.2g} %, and {what}"
        + promise(num_needed),
        noise_floor_pct=floor_pct,
        num_invocations_needed=num_needed,
    )


def has_direction(claim: Claim, measured: Quantity, floor_pct: float | None) -> bool:
    """Tell whether there is an effect of the claimed sign, beyond what identical arms show."""
    lower, upper = claim.bounds
    if claim.no_effect is None:
        return False
    noise = _in_unit(floor_pct or 0.0, claim)
    if lower is not None and lower > claim.no_effect:
        return decide(measured, claim.no_effect + noise, None) == "holds"
    if upper is not None and upper < claim.no_effect:
        return decide(measured, None, claim.no_effect - noise) == "holds"
    return False


def floor_of(claim: Claim, result: dict[str, Any]) -> float | None:
    """Return by how many percent identical arms differ at most; None where a claim has no such arms."""
    floor = _noise(claim, result)
    return None if floor is None else noise_floor_pct(floor)


def _noise(claim: Claim, result: dict[str, Any]) -> Quantity | None:
    plain = result["quantities"][claim.noise_floor] if claim.noise_floor else None
    return None if plain is None else msgspec.convert(plain, Quantity)


def _is_hidden(measured: Quantity, bound: float, claim: Claim, floor_pct: float) -> bool:
    """Tell whether a bound is no further from no effect than identical arms are, and the interval no further from it."""
    if claim.unit not in ("%", "ratio"):
        return False
    noise = _in_unit(floor_pct, claim)
    return abs(_as_pct(bound, claim)) <= floor_pct and measured.low - noise < bound < measured.high + noise


def _is_in_noise(measured: Quantity, lower: float, claim: Claim, floor_pct: float) -> bool:
    """Tell whether a gain that satisfies a bound reaches no further from no effect than identical arms do."""
    assert claim.no_effect is not None, "there is nothing to differ from"
    return claim.no_effect <= lower < measured.low <= claim.no_effect + _in_unit(floor_pct, claim)


def _in_unit(floor_pct: float, claim: Claim) -> float:
    return floor_pct / (100 if claim.unit == "ratio" else 1)


def _as_pct(gain: float, claim: Claim) -> float:
    return 100 * (gain - 1) if claim.unit == "ratio" else gain
