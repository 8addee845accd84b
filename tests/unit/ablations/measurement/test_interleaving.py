"""Arms alternate in seeded random order and keep every sample."""

from __future__ import annotations

import itertools

import pytest

from ablations.measurement import interleaving
from ablations.measurement.interleaving import Arm, alternate, timer_floor_us


def _arms() -> list[Arm]:
    counts = {"a": 0, "b": 0, "c": 0}

    def call(name: str) -> int:
        counts[name] += 1
        return 1000 * counts[name]

    return [Arm(name, lambda name=name: call(name), block=2) for name in ("a", "b")] + [
        Arm("c", lambda: call("c"), max_blocks=2)
    ]


def test_every_arm_has_one_turn_a_round() -> None:
    """And an arm with a bound takes part only in the first rounds."""
    arms = _arms()
    order = alternate(arms, rounds=5, seed=1, settle_s=0)
    assert [sorted(order[3 * k : 3 * k + 3]) for k in range(2)] == [["a", "b", "c"]] * 2
    assert [sorted(order[6 + 2 * k : 8 + 2 * k]) for k in range(3)] == [["a", "b"]] * 3
    assert [len(arm.samples_us) for arm in arms] == [10, 10, 2]


def test_samples_are_microseconds_in_order() -> None:
    """Nanoseconds in, microseconds out, nothing dropped."""
    arms = _arms()
    alternate(arms, rounds=3, seed=1, settle_s=0)
    assert arms[0].samples_us == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_lead_in_calls_are_kept_apart() -> None:
    """As many as asked for before each block, and none among the samples; what comes after a block follows all of these."""
    calls: list[str] = []

    def call(name: str) -> int:
        calls.append(name)
        return 1000

    arm = Arm(
        "a",
        lambda: call("sample"),
        block=2,
        lead_in=lambda: call("lead-in"),
        num_lead_ins=3,
        after_block=lambda: calls.append("after"),
    )
    alternate([arm], rounds=2, seed=1, settle_s=0)
    assert calls == ["lead-in", "lead-in", "lead-in", "sample", "sample", "after"] * 2
    assert (len(arm.samples_us), len(arm.lead_in_us)) == (4, 6)


def test_order_depends_on_the_seed() -> None:
    """Reproducible, and different between trials."""
    orders = [tuple(alternate(_arms(), rounds=20, seed=seed, settle_s=0)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_the_timer_floor_is_no_time_travel() -> None:
    """Durations of nothing are not negative."""
    assert min(timer_floor_us(100)) >= 0


def test_rounds_are_counted_for_whoever_waits() -> None:
    """From one, after each."""
    seen: list[int] = []
    alternate(_arms(), rounds=3, seed=1, settle_s=0, on_round=seen.append)
    assert seen == [1, 2, 3]


def test_the_timer_floor_is_in_microseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a clock that shows 250 ns more at each look."""
    looks = itertools.count(start=1_000, step=250)
    monkeypatch.setattr(interleaving, "perf_counter_ns", lambda: next(looks))
    assert timer_floor_us(3) == [0.25, 0.25, 0.25]
