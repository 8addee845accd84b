"""Every claim of the claims file against results that fit it, miss it, straddle it, or cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ablations.analysis.quantity import Quantity
from ablations.errors import ClaimsError
from ablations.judging.claims import DEFAULT_CLAIMS, Claim, Requirement, load_claims
from ablations.judging.grades import Grade, describe
from ablations.judging.verdicts import judge_claim

CLAIMS = load_claims(Path(__file__).resolve().parents[4] / DEFAULT_CLAIMS).claims
JUDGED = [claim for claim in CLAIMS if claim.contradiction is None or claim.contradiction.grade is None]
BOUNDED_OVERHEADS = [claim for claim in JUDGED if claim.noise_floor and claim.comparison == "at_most"]
Result = dict[str, Any]
for_every_judged_claim = pytest.mark.parametrize("claim", JUDGED, ids=lambda claim: claim.id)


def _inside(wanted: Requirement) -> float:
    lower, upper = wanted.bounds
    if lower is not None and upper is not None:
        return (lower + upper) / 2
    return 2 * lower + 1 if lower is not None else upper / 2  # type: ignore[operator]


def _outside(wanted: Requirement, side: int) -> float | None:
    """Return a value below (-1) or above (+1) what the test wants; None if nothing there misses it."""
    bound = wanted.bounds[0 if side < 0 else 1]
    return None if bound is None else bound + side * 0.3 * abs(bound)


def _quantity(value: float, unit: str, *, count: int = 6, width: float = 0.02) -> dict[str, Any]:
    half = width * abs(value)
    return {
        "value": value,
        "low": value - half,
        "high": value + half,
        "unit": unit,
        "num_invocations": count,
        "num_samples": 10 * count,
        "confidence": 0.95,
    }


def _result(claim: Claim, value: float | None = None, **shape: Any) -> Result:
    """Return a result in which everything but the claim's metric is as the claim needs it."""
    quantities = {control.metric: _quantity(_inside(control), control.unit) for control in claim.controls}
    if claim.noise_floor:
        quantities[claim.noise_floor] = {**_quantity(0.0, "%"), "low": -0.1, "high": 0.1}
    quantities[claim.metric] = _quantity(_inside(claim) if value is None else value, claim.unit, **shape)
    accelerator = f"NVIDIA {claim.hardware}" if claim.hardware else None
    return {"flags": [], "environment": {"accelerator": accelerator}, "quantities": quantities}


@for_every_judged_claim
def test_a_result_that_fits_reproduces_and_a_mutated_one_does_not(claim: Claim) -> None:
    """On either side of what the claim wants."""
    assert judge_claim(claim, _result(claim)).grade == Grade.REPRODUCED
    missed = [value for side in (-1, 1) if (value := _outside(claim, side)) is not None]
    assert missed
    for value in missed:
        verdict = judge_claim(claim, _result(claim, value))
        assert verdict.grade in (Grade.NOT_REPRODUCED, Grade.DIRECTION_ONLY)
        assert "none of the interval" in verdict.reason


@for_every_judged_claim
def test_an_interval_across_a_threshold_is_inconclusive(claim: Claim) -> None:
    """And says how many invocations would decide, more for a closer call."""
    bound = next(bound for bound in claim.bounds if bound is not None)
    result = _result(claim, 1.05 * bound, width=0.1)
    verdict = judge_claim(claim, result)
    assert verdict.grade == Grade.INCONCLUSIVE
    assert verdict.num_invocations_needed is not None
    closer = judge_claim(claim, _result(claim, 1.02 * bound, width=0.1))
    assert (closer.num_invocations_needed or 1001) > verdict.num_invocations_needed > 6


@for_every_judged_claim
@pytest.mark.parametrize(
    ("mutate", "grades"),
    [
        (lambda r, c: r["quantities"][c.metric].update(num_invocations=5), {Grade.INCONCLUSIVE}),
        (lambda r, c: r["quantities"].update({c.metric: None}), {Grade.NOT_TESTABLE}),
        (lambda r, c: r["flags"].append("simulated"), {Grade.DIRECTION_ONLY}),
    ],
    ids=["five invocations", "nothing measured", "simulated"],
)
def test_what_proves_nothing_reproduces_nothing(
    claim: Claim, mutate: Callable[[Result, Claim], None], grades: set[Grade]
) -> None:
    """However well the number fits."""
    result = _result(claim)
    mutate(result, claim)
    verdict = judge_claim(claim, result)
    assert verdict.grade in grades
    assert verdict.reason


@for_every_judged_claim
def test_contamination_is_told(claim: Claim) -> None:
    """With the verdict, whatever it is, after what the document contradicts."""
    result = _result(claim)
    result["flags"].append("busy_before in 2 of 6 trials")
    contradicted = "" if claim.contradiction is None else f"; {claim.contradiction.why}"
    told = f"{contradicted}; flags of the trials: busy_before in 2 of 6 trials"
    assert judge_claim(claim, result).reason.endswith(told)


@pytest.mark.parametrize("claim", [c for c in JUDGED if c.controls], ids=lambda claim: claim.id)
def test_an_instrument_that_sees_nothing_reproduces_nothing(claim: Claim) -> None:
    """A positive control that fails takes its claim with it."""
    result = _result(claim)
    result["quantities"][claim.controls[0].metric].update(value=0.0, low=-0.1, high=0.1)
    verdict = judge_claim(claim, result)
    assert verdict.grade == Grade.INCONCLUSIVE
    assert claim.controls[0].why in verdict.reason
    result["quantities"][claim.controls[0].metric] = None
    assert judge_claim(claim, result).grade == Grade.INCONCLUSIVE


@pytest.mark.parametrize("claim", BOUNDED_OVERHEADS, ids=lambda claim: claim.id)
def test_nothing_is_claimed_below_the_noise_floor(claim: Claim) -> None:
    """Identical arms that differ by more than the bound make it untestable by so few invocations."""
    result = _result(claim)
    assert claim.noise_floor is not None
    result["quantities"][claim.noise_floor].update(low=-6.0, high=1.0)
    verdict = judge_claim(claim, result)
    assert verdict.grade == Grade.INCONCLUSIVE
    assert "identical arms differ by up to 6 %" in verdict.reason
    assert verdict.noise_floor_pct == 6.0


@pytest.mark.parametrize("claim", BOUNDED_OVERHEADS, ids=lambda claim: claim.id)
@pytest.mark.parametrize("num_pairs", [6, 12, 24])
def test_what_was_measured_already_is_not_asked_for(claim: Claim, num_pairs: int) -> None:
    """Where several modes are paired there are more pairs than trials; and too few of either decide nothing."""
    result = _result(claim)
    assert claim.noise_floor is not None
    measured = result["quantities"][claim.metric]["num_invocations"]
    for spread in (1.0, 3.0, 9.0, 27.0):
        floor = {"value": 0.9 * spread, "low": -0.1 * spread, "high": 2.0 * spread, "num_invocations": num_pairs}
        result["quantities"][claim.noise_floor].update(floor)
        verdict = judge_claim(claim, result)
        if verdict.grade == Grade.INCONCLUSIVE:
            assert verdict.num_invocations_needed is None or verdict.num_invocations_needed > measured


@pytest.mark.parametrize("claim", BOUNDED_OVERHEADS, ids=lambda claim: claim.id)
@pytest.mark.parametrize(("far_enough", "grade"), [(True, Grade.REPRODUCED), (False, Grade.INCONCLUSIVE)])
def test_an_interval_far_below_the_bound_is_not_hidden(claim: Claim, *, far_enough: bool, grade: Grade) -> None:
    """If it keeps the bound with all that identical arms differ by; where it only nearly does, it is."""
    _, bound = claim.bounds
    assert bound is not None
    assert claim.noise_floor is not None
    floor_pct = bound + 1.0
    result = _result(claim, bound - floor_pct - (1.0 if far_enough else -0.5))
    result["quantities"][claim.noise_floor].update(low=-floor_pct, high=0.0)
    assert judge_claim(claim, result).grade == grade


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.hardware], ids=lambda claim: claim.id)
@pytest.mark.parametrize("accelerator", [None, "NVIDIA A100-SXM4-80GB"])
def test_absolute_times_of_other_hardware_are_not_judged(claim: Claim, accelerator: str | None) -> None:
    """Neither for nor against."""
    for value in (None, 1e3):
        result = _result(claim, value)
        result["environment"]["accelerator"] = accelerator
        verdict = judge_claim(claim, result)
        assert verdict.grade == Grade.NOT_TESTABLE
        assert "H100" in verdict.reason


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c not in JUDGED], ids=lambda claim: claim.id)
def test_what_the_document_contradicts_is_not_judged(claim: Claim) -> None:
    """The number is shown, and why it decides nothing."""
    verdict = judge_claim(claim, _result(claim))
    assert claim.contradiction is not None
    assert verdict.grade == Grade.INCONSISTENT
    assert claim.contradiction.why in verdict.reason
    assert verdict.measured is not None


def test_a_speed_up_below_its_range_has_the_direction() -> None:
    """Six times as fast is not ten to fifty times, but not nothing; one and a half per cent is."""
    claim = next(claim for claim in CLAIMS if claim.id == "plan_cache.speedup")
    assert judge_claim(claim, _result(claim, 6.0)).grade == Grade.DIRECTION_ONLY
    assert judge_claim(claim, _result(claim, 1.0)).grade == Grade.NOT_REPRODUCED
    noisy = _result(claim, 1.05, width=0.01)
    noisy["quantities"]["noise_floor"].update(low=-8.0, high=8.0)
    assert judge_claim(claim, noisy).grade == Grade.NOT_REPRODUCED


def test_times_are_compared_in_one_unit() -> None:
    """Milliseconds of the document with microseconds of the result; a ratio with a time is an error."""
    claim = next(claim for claim in CLAIMS if claim.id == "plan_cache.cold")
    result = _result(claim)
    result["quantities"][claim.metric] = _quantity(20_000.0, "us")
    verdict = judge_claim(claim, result)
    assert verdict.grade == Grade.REPRODUCED
    assert verdict.measured is not None
    assert verdict.measured.value == pytest.approx(20.0)
    result["quantities"][claim.metric] = _quantity(20.0, "ratio")
    with pytest.raises(ClaimsError, match="is in ms, but token.cold is measured in ratio"):
        judge_claim(claim, result)


def test_equivalence_needs_both_margins() -> None:
    """Within five per cent is neither five more nor five less."""
    claim = next(claim for claim in CLAIMS if claim.id == "session_arena.no_penalty")
    equivalent = Claim(**{**{n: getattr(claim, n) for n in claim.__struct_fields__}, "comparison": "equivalent"})
    for value, grade in ((0.0, Grade.REPRODUCED), (-8.0, Grade.NOT_REPRODUCED), (8.0, Grade.NOT_REPRODUCED)):
        assert judge_claim(equivalent, _result(claim, value)).grade == grade


@pytest.mark.parametrize(("value", "shown"), [(1921.4, "1,921 ["), (999.4, "999 ["), (0.012345, "0.0123 [")])
def test_numbers_are_shown_without_exponents(value: float, shown: str) -> None:
    """In a sentence that people read."""
    assert describe(msgspec.convert(_quantity(value, "us"), Quantity)).startswith(shown)
