"""What cannot be simulated is refused with one sentence; what can has a bound that is computed from its numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ablations.errors import SettingsError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step_s": math.nan}, "step_s is nan, but must be a number from 0 on"),
        ({"swap_in_s": -0.1}, "swap_in_s is -0.1, but must be a number from 0 on"),
        ({"idle_timeout_s": 0.0}, "idle_timeout_s is 0, but must be positive"),
        ({"arrivals_per_s": -1.0}, "arrivals_per_s is -1.0, but must be a"),
        ({"wait_min_s": 11.0}, "wait_min_s is 11.0, more than wait_max_s, 10.0"),
        ({"host_slots": 0}, "The host pool holds 0 sessions, less than one"),
        ({"slots": 0}, "slots is 0, but must be at least 1"),
        ({"num_processors": 2}, "num_processors is 2, but must be 1 or null"),
        ({"estimate_error": 2.0}, "estimate_error is 2.0, but must be a share"),
    ],
)
def test_numbers_out_of_range_are_named(make_scenario: Any, change: dict[str, Any], message: str) -> None:
    """Before anything runs."""
    with pytest.raises(SettingsError, match=message):
        make_scenario("proactive", **change)


def test_an_unknown_policy_is_named(make_scenario: Any) -> None:
    """With those that exist."""
    with pytest.raises(SettingsError, match="Policy 'clairvoyant' is unknown; choose one of none, reactive, lru"):
        make_scenario("clairvoyant")


@pytest.mark.parametrize(
    ("policy", "change", "bound"),
    [
        ("none", {}, 4),
        ("proactive", {}, 4 * 11 / 2),  # memory: 4 slots, 11 s a cycle, 1 s of computing and two swaps of 0.5 s
        ("reactive", {}, 4 * 11 / 4),  # and 2 s of idleness
        ("proactive", {"num_processors": 1}, 11),  # the processor: a second in eleven
        ("proactive", {"swap_in_s": 1.5}, 11 / 1.5),  # the link
        ("proactive", {"host_slots": 3}, 4 + 3),  # the pool
    ],
)
def test_the_bound_is_the_scarcest_resource(
    make_scenario: Any, policy: str, change: dict[str, Any], bound: float
) -> None:
    """By hand."""
    assert make_scenario(policy, slots=4, **change).bound() == pytest.approx(bound)
