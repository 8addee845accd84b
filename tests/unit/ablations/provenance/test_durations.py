"""Expected times come from measured ones, and say from which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablations.provenance.durations import expect, format_seconds, read_run
from ablations.provenance.tiers import known_tiers


def test_a_run_tells_the_mean_of_each_variant(whole: Path, edit: Any) -> None:
    """And the pause between two trials, of which only those of one run count."""
    for number, (variant, begun) in enumerate((("none", "10:00:00"), ("lru", "10:00:14"))):
        edit(
            whole / f"trials/semantic_signals/{variant}/trial_0.json",
            lambda r, number=number, begun=begun: r.update(
                duration_s=10.0 + number, started_at=f"2020-01-01T{begun}+00:00"
            ),
        )
    run = read_run(whole)
    assert run is not None
    assert run.seconds["semantic_signals", "none"] == 10.0
    assert run.seconds["semantic_signals", "lru"] == 11.0
    assert 0 <= run.pause_s <= 30


def test_times_scale_with_the_number_of_trials(original: Path) -> None:
    """Of the same settings, so that they are not called rough."""
    run = read_run(original)
    assert run is not None
    tier = known_tiers()["tiny"]
    one = expect(tier, [("plan_cache", "decode")], [run])
    three = expect(tier, [("plan_cache", "decode")] * 3, [run])
    assert three.seconds == pytest.approx(3 * one.seconds)
    assert one.seconds == pytest.approx(run.seconds["plan_cache", "decode"] + run.pause_s)
    assert not one.rough
    assert str(original) in str(one)


def test_times_of_other_settings_are_called_rough(original: Path) -> None:
    """They are better than none."""
    run = read_run(original)
    assert run is not None
    expectation = expect(known_tiers()["laptop"], [("plan_cache", "decode")], [run])
    assert expectation.rough == {"plan_cache"}
    assert "rough for plan_cache" in str(expectation)


def test_a_study_that_nobody_measured_is_unknown(original: Path) -> None:
    """Not free."""
    run = read_run(original)
    assert run is not None
    tier = known_tiers()["tiny"]
    assert "without peers, measured nowhere" in str(
        expect(tier, [("peers", "micro_add"), ("plan_cache", "decode")], [run])
    )
    assert "time not known" in str(expect(tier, [("peers", "micro_add")], [run]))


def test_a_folder_without_trials_tells_nothing(tmp_path: Path) -> None:
    """Also one whose trials are damaged."""
    (tmp_path / "trials/os_tax/micro_add").mkdir(parents=True)
    (tmp_path / "trials/os_tax/micro_add/trial_0.json").write_text("{")
    assert read_run(tmp_path) is None


@pytest.mark.parametrize(("seconds", "text"), [(8.4, "8 s"), (89, "89 s"), (120, "2 min"), (9000, "2.5 h")])
def test_durations_read_like_a_person_says_them(seconds: float, text: str) -> None:
    """Seconds, minutes, hours."""
    assert format_seconds(seconds) == text
