"""The sentence with a verdict: numbers with their units, what decided, and an effect told from what noise shows."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from ablations.analysis.bounds import invocations_needed
from ablations.analysis.quantity import Quantity
from ablations.judging.claims import Claim, Contradiction, Requirement
from ablations.judging.grades import Grade, describe
from ablations.judging.verdicts import judge_claim


def _claim(comparison: str, threshold: float, unit: str, **more: Any) -> Claim:
    known = {"id": "one", "quote": "words", "section": "a section", "line": 1, "study": "os_tax", "reading": "how"}
    return Claim(**known, metric="m", comparison=comparison, threshold=threshold, unit=unit, **more)  # type: ignore[arg-type]


def _measured(low: float, value: float, high: float, unit: str, count: int = 6) -> dict[str, Any]:
    return {
        "value": value, "low": low, "high": high, "unit": unit, "num_invocations": count, "num_samples": 60,
        "confidence": 0.95,
    }  # fmt: skip


def _result(**quantities: dict[str, Any] | None) -> dict[str, Any]:
    return {"flags": [], "environment": {"accelerator": None}, "quantities": quantities}


@pytest.mark.parametrize(
    ("unit", "count", "text"),
    [
        ("us", 6, "2 [1, 3] us over 6 invocations"),
        ("ratio", 6, "2 [1, 3]× over 6 invocations"),
        ("exponent", 6, "2 [1, 3] over 6 invocations"),
        ("%", 1, "2 [1, 3] % over 1 invocation"),
    ],
)
def test_a_quantity_is_described_with_interval_unit_and_count(unit: str, count: int, text: str) -> None:
    """A ratio has its sign, an exponent nothing."""
    assert describe(Quantity(value=2, low=1, high=3, unit=unit, num_invocations=count, num_samples=9)) == text


@pytest.mark.parametrize(
    ("comparison", "threshold", "unit", "wanted"),
    [
        ("at_most", 4.0, "ratio", "2.5 [2, 3]× over 6 invocations: the whole interval is less than 4×"),
        ("at_least", 1.0, "ratio", "2.5 [2, 3]× over 6 invocations: the whole interval is more than 1×"),
        ("equivalent", 9.0, "%", "2.5 [2, 3] % over 6 invocations: the whole interval is between -9 and 9 %"),
    ],
)
def test_what_holds_is_said_with_what_was_wanted(comparison: str, threshold: float, unit: str, wanted: str) -> None:
    """And nothing else where nothing else is to be said."""
    verdict = judge_claim(_claim(comparison, threshold, unit), _result(m=_measured(2, 2.5, 3, unit)))
    assert verdict.grade == Grade.REPRODUCED
    assert verdict.reason == wanted


def test_a_result_that_was_simulated_is_said_to_be() -> None:
    """It has the direction at most."""
    result = _result(m=_measured(2, 2.5, 3, "ratio")) | {"flags": ["simulated"]}
    verdict = judge_claim(_claim("at_most", 4.0, "ratio"), result)
    assert verdict.grade == Grade.DIRECTION_ONLY
    assert "but simulated data reproduce nothing" in verdict.reason


def test_an_absolute_time_names_the_lack_of_an_accelerator() -> None:
    """Beside the hardware that the claim speaks of."""
    verdict = judge_claim(_claim("at_most", 4.0, "us", hardware="H100"), _result(m=_measured(2, 2.5, 3, "us")))
    assert verdict.grade == Grade.NOT_TESTABLE
    assert "an absolute time of H100, measured on no accelerator: 2.5 [2, 3] us" in verdict.reason


def test_an_inconsistent_claim_is_told_what_it_is_here() -> None:
    """As far as it was measured."""
    contradiction = Contradiction(claims=("two",), why="both cannot be", grade="inconsistent in the source")
    claim = _claim("at_most", 4.0, "us", contradiction=contradiction)
    measured = judge_claim(claim, _result(m=_measured(2, 2.5, 3, "us")))
    assert measured.reason == "both cannot be; here it is 2.5 [2, 3] us over 6 invocations"
    assert judge_claim(claim, _result(m=None)).reason == "both cannot be"
    unmeasured = judge_claim(claim, None)
    assert (unmeasured.grade, unmeasured.reason) == (Grade.INCONSISTENT, "both cannot be")


@pytest.mark.parametrize(
    ("control", "found"),
    [(None, "c was not measured"), (_measured(0, 1, 2, "%"), "c is 1 [0, 2] % over 6 invocations")],
    ids=["absent", "too small"],
)
def test_a_control_that_fails_is_told_as_it_was_found(control: dict[str, Any] | None, found: str) -> None:
    """So that the reader knows which of the two it was."""
    needed = Requirement(metric="c", comparison="at_least", threshold=5.0, unit="%", why="it is known to be there")
    result = _result(m=_measured(1, 2, 3, "%"), c=control)
    verdict = judge_claim(_claim("at_most", 4.0, "%", controls=(needed,)), result)
    assert verdict.grade == Grade.INCONCLUSIVE
    assert f"{found} although it is known to be there" in verdict.reason


@pytest.mark.parametrize(
    ("comparison", "threshold", "interval", "noise_pct", "grade"),
    [
        ("at_least", 3.0, (1.1, 1.2, 1.3), 5.0, Grade.DIRECTION_ONLY),
        ("at_least", 3.0, (1.1, 1.2, 1.3), 15.0, Grade.NOT_REPRODUCED),
        ("at_least", 3.0, (1.0995, 1.2, 1.3), 10.0, Grade.NOT_REPRODUCED),
        ("at_least", 3.0, (0.9, 1.2, 1.3), 5.0, Grade.NOT_REPRODUCED),
        ("at_most", 0.3, (0.7, 0.8, 0.9), 5.0, Grade.DIRECTION_ONLY),
        ("at_most", 0.3, (0.7, 0.8, 0.9), 15.0, Grade.NOT_REPRODUCED),
        ("at_most", 0.3, (0.7, 0.8, 1.1), 5.0, Grade.NOT_REPRODUCED),
    ],
)
def test_an_effect_has_a_direction_only_beyond_noise(
    comparison: str, threshold: float, interval: tuple[float, float, float], noise_pct: float, grade: Grade
) -> None:
    """More than one as well as less than one, by more than identical arms differ."""
    claim = _claim(comparison, threshold, "ratio", no_effect=1.0, noise_floor="n")
    result = _result(m=_measured(*interval, "ratio"), n=_measured(-noise_pct, 0.0, 1.0, "%"))
    assert judge_claim(claim, result).grade == grade


def test_without_a_noise_floor_every_effect_counts() -> None:
    """However small."""
    claim = _claim("at_least", 3.0, "ratio", no_effect=1.0)
    assert judge_claim(claim, _result(m=_measured(1.001, 1.002, 1.003, "ratio"))).grade == Grade.DIRECTION_ONLY


def test_a_bound_at_the_very_end_of_an_interval_asks_for_more_invocations() -> None:
    """It is not decided, so that a number is due."""
    verdict = judge_claim(_claim("at_most", 3.0, "%"), _result(m=_measured(1, 2, 3, "%")))
    assert verdict.grade == Grade.INCONCLUSIVE
    assert verdict.num_invocations_needed is not None


def test_an_overhead_is_told_over_a_native_graph_too() -> None:
    """Where there is one, because eager PyTorch is the slower of the two baselines."""
    result = _result(m=_measured(-82, -80, -76, "%"), m_over_graph=_measured(30, 34, 37, "%"))
    verdict = judge_claim(_claim("at_most", 1.0, "%"), result)
    assert verdict.grade == Grade.REPRODUCED
    assert verdict.reason.endswith("; over a native CUDA graph it is 34 [30, 37] % over 6 invocations")


@pytest.mark.parametrize(
    ("interval", "grade"),
    [
        ((1.2, 1.3, 1.4), Grade.REPRODUCED),
        ((1.04, 1.06, 1.08), Grade.INCONCLUSIVE),
        ((0.8, 0.9, 0.95), Grade.NOT_REPRODUCED),
    ],
)
def test_a_gain_of_any_size_is_told_from_noise(interval: tuple[float, float, float], grade: Grade) -> None:
    """Where the claim is only that there is one; what is beyond the noise, and what is none at all, stay what they are."""
    claim = _claim("at_least", 1.0, "ratio", no_effect=1.0, noise_floor="n")
    verdict = judge_claim(claim, _result(m=_measured(*interval, "ratio"), n=_measured(-5.0, 0.0, 3.0, "%")))
    assert verdict.grade == grade
    assert verdict.noise_floor_pct == 5.0
    assert ("identical arms differ by up to 5 %" in verdict.reason) == (grade == Grade.INCONCLUSIVE)


@pytest.mark.parametrize(("noise_pct", "grade"), [(5.0, Grade.REPRODUCED), (90.0, Grade.INCONCLUSIVE)])
def test_a_gain_of_a_given_size_is_told_from_noise_too(noise_pct: float, grade: Grade) -> None:
    """What a claim of any gain is not granted, a claim of a larger one is not either."""
    claim = _claim("at_least", 1.5, "ratio", no_effect=1.0, noise_floor="n")
    verdict = judge_claim(claim, _result(m=_measured(1.52, 1.6, 1.68, "ratio"), n=_measured(-noise_pct, 0, 3, "%")))
    assert verdict.grade == grade


@pytest.mark.parametrize(
    ("comparison", "threshold", "unit", "interval", "grade"),
    [
        ("at_most", 5.0, "%", (45.0, 50.0, 55.0), Grade.NOT_REPRODUCED),
        ("at_most", 5.0, "%", (10.0, 10.5, 12.0), Grade.INCONCLUSIVE),
        ("at_most", 5.0, "%", (-2.0, -1.5, -1.0), Grade.INCONCLUSIVE),
        ("at_most", 5.0, "%", (-9.0, -5.0, -1.2), Grade.REPRODUCED),
        ("equivalent", 5.0, "%", (-4.0, -3.5, -3.0), Grade.INCONCLUSIVE),
        ("equivalent", 5.0, "%", (-30.0, -25.0, -20.0), Grade.NOT_REPRODUCED),
        ("at_most", 1.0, "ratio", (0.97, 0.98, 0.99), Grade.INCONCLUSIVE),
        ("at_most", 1.0, "ratio", (0.8, 0.85, 0.9), Grade.REPRODUCED),
        ("at_most", 1.0, "ratio", (1.2, 1.3, 1.4), Grade.NOT_REPRODUCED),
    ],
)
def test_noise_hides_what_lies_within_it_of_the_bound(
    comparison: str, threshold: float, unit: str, interval: tuple[float, float, float], grade: Grade
) -> None:
    """On either side of either bound, and no more: what is far from it stays decided."""
    claim = _claim(comparison, threshold, unit, noise_floor="n")
    verdict = judge_claim(claim, _result(m=_measured(*interval, unit), n=_measured(-6.1, 0.0, 3.0, "%")))
    assert verdict.grade == grade


def test_pairs_of_trials_are_told_as_trials() -> None:
    """Six trials of four modes make twelve pairs, so half as many trials as pairs are needed."""
    claim = _claim("at_least", 1.0, "ratio", no_effect=1.0, noise_floor="n")
    floor = _measured(-5.0, 0.0, 5.0, "%", 12)
    pairs = invocations_needed(msgspec.convert(floor, Quantity), 6.0, centre=0.0)
    verdict = judge_claim(claim, _result(m=_measured(1.04, 1.06, 1.08, "ratio"), n=floor))
    assert pairs is not None
    assert verdict.num_invocations_needed == math.ceil(pairs / 2)


def test_too_few_trials_for_a_close_call_promise_no_number() -> None:
    """Three that scatter widely around the bound would not be decided by six."""
    verdict = judge_claim(_claim("at_most", 5.0, "%"), _result(m=_measured(1.0, 5.01, 9.0, "%", 3)))
    assert verdict.num_invocations_needed is None
    clear = judge_claim(_claim("at_most", 5.0, "%"), _result(m=_measured(1.0, 1.1, 1.2, "%", 3)))
    assert clear.num_invocations_needed == 6
