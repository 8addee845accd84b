"""One claim against its study's result: a grade, the reason in a sentence, and what would decide it.

Order matters. What the document itself decides is not measured; an absolute time of other hardware is not compared;
too few invocations conclude nothing, and neither do arms between which the instrument cannot tell: a claim of no
overhead needs proof that overhead would have been seen (a positive control, as equivalence trials need assay
sensitivity, ICH guideline E10, section 1.5) and a noise floor below its bound. Only then the interval decides.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ablations.analysis.bounds import decide, invocations_needed
from ablations.analysis.quantity import MIN_INVOCATIONS, Quantity
from ablations.errors import ClaimsError
from ablations.judging.claims import TIME_UNITS, Claim, Requirement
from ablations.judging.grades import Grade, Verdict, describe, promise, shown_unit
from ablations.judging.missing import why_no_result, why_no_value
from ablations.judging.noise import floor_of, has_direction, hidden_by_noise

# Of a result's flags; the others tell of contamination.
SIMULATED = "simulated"
UNDERPOWERED = "underpowered"
# How metrics begin whose intervals cover the brackets of a search, which more trials alone do not narrow.
_BRACKETED = ("gain.", "agents.")


def judge_claim(claim: Claim, result: dict[str, Any] | None) -> Verdict:
    """Judge one claim.

    Args:
        claim: to judge.
        result: the aggregated result of its study; None if it was not given.

    Raises:
        ClaimsError: the metric is of another unit than the claim.
    """
    if result is None:
        return _decided_by_the_source(claim, None) or Verdict(
            grade=Grade.NOT_TESTABLE, reason=why_no_result(claim.study)
        )
    measured = read_quantity(claim, claim, result)
    verdict = (
        _decided_by_the_source(claim, measured)
        or _decided_beforehand(claim, result, measured)
        or _decided_by_instrument(claim, result, measured)
    )
    if verdict is None:
        assert measured is not None, "a missing quantity was decided beforehand"
        verdict = _decided_by_interval(claim, result, measured)
    return msgspec.structs.replace(verdict, reason=verdict.reason + _remarks(claim, result), measured=measured)


def read_quantity(claim: Claim, requirement: Requirement, result: dict[str, Any]) -> Quantity | None:
    """Return a metric in the unit that is required; None where the study could not measure it.

    Raises:
        ClaimsError: units that cannot be compared.
    """
    plain = result["quantities"][requirement.metric]
    if plain is None:
        return None
    quantity = msgspec.convert(plain, Quantity)
    if quantity.unit == requirement.unit:
        return quantity
    if quantity.unit not in TIME_UNITS or requirement.unit not in TIME_UNITS:
        raise ClaimsError(
            f"Claim {claim.id} is in {requirement.unit}, but {requirement.metric} is measured in {quantity.unit}; "
            "correct the unit or choose another metric."
        )
    factor = TIME_UNITS[quantity.unit] / TIME_UNITS[requirement.unit]
    scaled = {name: getattr(quantity, name) * factor for name in ("value", "low", "high")}
    return msgspec.structs.replace(quantity, unit=requirement.unit, **scaled)


def _decided_by_the_source(claim: Claim, measured: Quantity | None) -> Verdict | None:
    """Return the verdict where the document contradicts itself, whatever is measured and whether anything is."""
    if claim.contradiction is None or claim.contradiction.grade is None:
        return None
    here = f"; here it is {describe(measured)}" if measured else ""
    return Verdict(grade=Grade(claim.contradiction.grade), reason=f"{claim.contradiction.why}{here}")


def _decided_beforehand(claim: Claim, result: dict[str, Any], measured: Quantity | None) -> Verdict | None:
    """Return the verdict where measuring decides nothing."""
    if measured is None:
        return Verdict(
            grade=Grade.NOT_TESTABLE,
            reason=why_no_value(claim.study, claim.metric, result),
        )
    accelerator = result["environment"]["accelerator"]
    if claim.hardware is not None and claim.hardware not in (accelerator or ""):
        return Verdict(
            grade=Grade.NOT_TESTABLE,
            reason=f"an absolute time of {claim.hardware}, measured on {accelerator or 'no accelerator'}: "
            f"{describe(measured)} says nothing about it",
        )
    return None


def _decided_by_instrument(claim: Claim, result: dict[str, Any], measured: Quantity | None) -> Verdict | None:
    """Return "inconclusive" where the measurement could not have told the claim from its opposite."""
    assert measured is not None, "a missing quantity was decided beforehand"
    if measured.is_underpowered:
        is_open = measured.num_invocations > 1 and _bounds_inside(claim, measured)
        needed = _needed(claim, measured) if is_open else MIN_INVOCATIONS
        return Verdict(
            grade=Grade.INCONCLUSIVE,
            reason=f"underpowered: {describe(measured)}, and fewer than {MIN_INVOCATIONS} carry no 95 % interval"
            + promise(needed),
            num_invocations_needed=needed,
        )
    for control in claim.controls:
        quantity = read_quantity(claim, control, result)
        if quantity is None or decide(quantity, *control.bounds) != "holds":
            found = "was not measured" if quantity is None else f"is {describe(quantity)}"
            return Verdict(
                grade=Grade.INCONCLUSIVE,
                reason=f"the instrument is in doubt: {control.metric} {found} although {control.why}, so that it would "
                f"not have seen what the claim denies",
            )
    return hidden_by_noise(claim, result, measured)


def _decided_by_interval(claim: Claim, result: dict[str, Any], measured: Quantity) -> Verdict:
    floor_pct = floor_of(claim, result)
    decision = decide(measured, *claim.bounds)
    reason, needed = f"{describe(measured)}: ", None
    if decision == "undecided":
        grade, needed = Grade.INCONCLUSIVE, _needed(claim, measured)
        reason += f"only part of the interval is {_wanted(claim)}; {_what_would_decide(claim, needed)}"
    elif decision == "holds":
        is_simulated = any(flag.startswith(SIMULATED) for flag in result["flags"])
        grade = Grade.DIRECTION_ONLY if is_simulated else Grade.REPRODUCED
        reason += f"the whole interval is {_wanted(claim)}" + (
            ", but simulated data reproduce nothing" if is_simulated else ""
        )
    else:
        grade = Grade.DIRECTION_ONLY if has_direction(claim, measured, floor_pct) else Grade.NOT_REPRODUCED
        reason += f"none of the interval is {_wanted(claim)}"
    return Verdict(grade=grade, reason=reason, noise_floor_pct=floor_pct, num_invocations_needed=needed)


def _needed(claim: Claim, measured: Quantity) -> int | None:
    """Return how many invocations tell the value from the bounds that its interval holds."""
    if measured.num_invocations < 2:
        return None
    numbers = [invocations_needed(measured, bound) for bound in _bounds_inside(claim, measured)]
    return None if None in numbers or not numbers else max(number for number in numbers if number is not None)


def _bounds_inside(claim: Claim, measured: Quantity) -> list[float]:
    return [bound for bound in claim.bounds if bound is not None and measured.low <= bound <= measured.high]


def _what_would_decide(claim: Claim, needed: int | None) -> str:
    how_many = f"about {needed} invocations" if needed else "not even a thousand invocations"
    if claim.metric.startswith(_BRACKETED):
        return f"{how_many} would decide, if each probes more closely (max_probes)"
    return f"{how_many} would decide"


def _wanted(claim: Claim) -> str:
    lower, upper = claim.bounds
    unit = shown_unit(claim.unit)
    if lower is not None and upper is not None:
        return f"between {lower:g} and {upper:g}{unit}"
    return f"more than {lower:g}{unit}" if lower is not None else f"less than {upper:g}{unit}"


def _remarks(claim: Claim, result: dict[str, Any]) -> str:
    """Return what a reader has to know beside the reason."""
    remarks = []
    if claim.contradiction is not None and claim.contradiction.grade is None:
        remarks.append(claim.contradiction.why)
    # Where native PyTorch has a second form, an overhead over the first alone would say too little.
    over_graph = result["quantities"].get(f"{claim.metric}_over_graph")
    if over_graph is not None:
        remarks.append(f"over a native CUDA graph it is {describe(msgspec.convert(over_graph, Quantity))}")
    flags = [flag for flag in result["flags"] if flag != UNDERPOWERED]
    if flags:
        remarks.append(f"flags of the trials: {', '.join(flags)}")
    return "".join(f"; {remark}" for remark in remarks)
