"""What the signal study reports: agents, gains, and what requests consist of, from samples told beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ablations.analysis import semantic_signals
from ablations.analysis.bounds import noise_floor_pct
from ablations.analysis.semantic_signals import noise_floor
from ablations.settings import VARIANTS
from summaries import NUM_TRIALS, samples_of, summarise

MODES = sorted(VARIANTS["semantic_signals"])
AGENTS = dict(zip(("none", "lru", "reactive", "proactive", "proactive_plus"), (10, 20, 25, 40, 50), strict=True))
PHASE_S, SWAP_OUT_S, SWAP_IN_S, TIMEOUT_S = 0.010, 0.002, 0.003, 0.030


def _probe(num_agents: int, outcome: str = "success", scale: float = 1.0) -> dict[str, Any]:
    return {
        "num_agents": num_agents,
        "outcome": outcome,
        "num_requests": 10,
        "p50_ms": 8.0,
        "p99_ms": 24.0,
        "max_alive": num_agents,
        "mean_alive": 1.0,
        "little_alive": 1.0,
        "evictions": 3 * num_agents,
        "oom_agents": 0,
        "request_latency_ms": samples_of(8.0 * scale),
        "request_restore_ms": samples_of(1.0),
        "request_queue_ms": samples_of(2.0),
        "request_compute_ms": samples_of(5.0),
        "swapped_out_bytes": num_agents * 2**20,
        "swapped_in_bytes": num_agents * 2**21,
        "timeline": [{"alive": num_agents}],
    }


def _samples(mode: str, **changes: Any) -> dict[str, Any]:
    largest = AGENTS[mode]
    return {
        "boundary": {"largest_success": largest, "smallest_failure": largest + 1},
        "bound": 99,
        "probes": [_probe(largest), _probe(largest + 1, "latency")],
        "common": _probe(8, scale=2.0 if mode == "reactive" else 1.0),
        "calibration": {
            "phase_s": PHASE_S,
            "swap_out_s": SWAP_OUT_S,
            "swap_in_s": SWAP_IN_S,
            "idle_timeout_s": TIMEOUT_S,
        },
        **changes,
    }


@pytest.fixture
def reported() -> tuple[dict[str, Any], dict[str, Any]]:
    """All modes, each of which succeeds everywhere but beyond its largest number."""
    return summarise(semantic_signals, {mode: _samples(mode) for mode in MODES})


def test_agents_and_gains_are_those_of_the_largest_success(reported: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """The gain is the ratio of two modes' agents."""
    found, _ = reported
    for mode, agents in AGENTS.items():
        assert found[f"agents.{mode}"] == found[f"largest.{mode}"] == (agents, "agents")
        assert found[f"bound.{mode}"] == (99.0, "agents")
    gains = {name: value for name, value in found.items() if name.startswith("gain.")}
    assert gains == {
        "gain.reactive_over_none": (2.5, "ratio"),
        "gain.proactive_over_none": (4.0, "ratio"),
        "gain.proactive_over_reactive": (1.6, "ratio"),
        "gain.proactive_over_lru": (2.0, "ratio"),
        "gain.proactive_plus_over_proactive": (1.25, "ratio"),
        "gain.proactive_plus_over_lru": (2.5, "ratio"),
        "gain.expected": (3.0, "ratio"),
    }


@pytest.mark.parametrize("place", ["boundary", "common"])
def test_requests_are_reported_by_their_parts(reported: tuple[dict[str, Any], dict[str, Any]], place: str) -> None:
    """Latency, what it consists of, and swaps of each agent."""
    found = {name: value for name, value in reported[0].items() if name.startswith(place)}
    for mode in MODES:
        slowness = 2.0 if (mode, place) == ("reactive", "common") else 1.0
        assert found[f"{place}_p50.{mode}"] == (8.0 * slowness, "ms")
        assert found[f"{place}_p99.{mode}"] == (24.0 * slowness, "ms")
        for part, time_ms in (("restore", 1.0), ("queue", 2.0), ("compute", 5.0)):
            assert found[f"{place}_{part}.{mode}"] == (time_ms, "ms")
        assert found[f"{place}_swaps.{mode}"] == (3.0, "swaps/agent")
        assert found[f"{place}_swap_bytes.{mode}"] == (3.0, "MiB/agent")
    assert len(found) == 7 * len(MODES)


def test_calibrations_and_the_latency_ratio_are_reported(reported: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """In milliseconds; proactive at half of reactive's latency."""
    found, _ = reported
    assert found["calibration.compute"] == (10.0, "ms")
    assert found["calibration.swap"] == (3.0, "ms")
    assert found["latency.proactive_over_reactive"] == (0.5, "ratio")


def test_series_hold_every_probe_and_count_successes(reported: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """With exact binomial intervals: of two successes the lower end is sqrt(0.025)."""
    _, series = reported
    assert len(series["probes"]) == 2 * NUM_TRIALS * len(MODES)
    first = next(probe for probe in series["probes"] if probe["mode"] == "lru")
    assert (first["trial"], first["num_agents"], first["outcome"]) == (0, 20, "success")
    most, beyond = series["success"]["lru"]
    assert most == {
        "num_agents": 20,
        "num_probes": 2,
        "successes": 2,
        "low": pytest.approx(0.025**0.5),
        "high": 1.0,
    }
    assert (beyond["num_agents"], beyond["successes"], beyond["low"]) == (21, 0, 0.0)
    assert beyond["high"] == pytest.approx(1 - 0.025**0.5)
    assert series["timelines"]["lru"] == [{"alive": 8}]


def test_a_mode_that_fails_at_the_common_number_has_no_latency_there() -> None:
    """And none that is compared with another; its own boundary still has one."""
    samples = {mode: _samples(mode) for mode in MODES}
    samples["reactive"] = _samples("reactive", common=_probe(8, "latency"))
    found, _ = summarise(semantic_signals, samples)
    names = {name for name, value in found.items() if value is None}
    parts = ("p50", "p99", "restore", "queue", "compute", "swaps", "swap_bytes")
    # Two trials of each mode are too few for a noise floor.
    assert names - {"noise_floor"} == {f"common_{part}.reactive" for part in parts} | {
        "latency.proactive_over_reactive"
    }


def test_a_bracket_stands_for_the_places_in_it() -> None:
    """Its geometric middle is the value."""
    boundary = {"largest_success": 16, "smallest_failure": 64}
    samples = {mode: _samples(mode) for mode in MODES}
    samples["lru"] = _samples("lru", boundary=boundary, probes=[_probe(16)])
    found, _ = summarise(semantic_signals, samples)
    assert found["agents.lru"] == (32.0, "agents")
    assert found["largest.lru"] == (16.0, "agents")


def test_a_mode_that_never_succeeded_is_compared_with_none() -> None:
    """Ten agents failed and fewer were not tried: that is no number of agents."""
    samples = {mode: _samples(mode) for mode in MODES}
    samples["lru"] = _samples("lru", boundary={"largest_success": 0, "smallest_failure": 10})
    found, _ = summarise(semantic_signals, samples)
    assert found["agents.lru"] == (0.0, "agents")
    assert found["gain.proactive_over_lru"] is found["gain.proactive_plus_over_lru"] is None
    assert found["gain.proactive_over_reactive"] == (1.6, "ratio")


def test_identical_trials_have_no_noise() -> None:
    """Exactly, whatever the modes sustain."""
    found = noise_floor({mode: [float(agents)] * 6 for mode, agents in AGENTS.items()})
    assert found is not None
    assert (found.low, found.value, found.high, found.unit) == (0.0, 0.0, 0.0, "%")
    assert found.num_invocations == 3 * len(AGENTS)


def test_what_trials_differ_by_never_reads_as_the_gain() -> None:
    """However the trials of a mode are ordered: 1.6 times between modes, a twentieth between trials of one."""
    generator = np.random.default_rng(4)
    for _ in range(100):
        agents = {
            mode: [middle * factor for factor in generator.lognormal(0, 0.05, 6)]
            for mode, middle in (("reactive", 25.0), ("proactive", 40.0))
        }
        found = noise_floor(
            {mode: [trials[place] for place in generator.permutation(6)] for mode, trials in agents.items()}
        )
        assert found is not None
        assert noise_floor_pct(found) < 30


def test_a_true_difference_between_the_halves_shows() -> None:
    """In every second trial a tenth more."""
    found = noise_floor({"lru": [20.0, 22.0] * 3, "proactive": [40.0, 44.0] * 3})
    assert found is not None
    assert (found.low, found.value, found.high) == pytest.approx((10.0, 10.0, 10.0))


@pytest.mark.parametrize("num_trials", [1, 2, 3])
def test_fewer_than_four_trials_have_no_noise_floor(num_trials: int) -> None:
    """Nor do modes that sustained no agent, which have no ratio; of five trials the last has no partner."""
    assert noise_floor({"lru": [20.0] * num_trials}) is None
    assert noise_floor({"none": [0.0] * 6, "lru": [20.0] * num_trials}) is None
    five = noise_floor({"none": [0.0] * 6, "lru": [20.0] * 5})
    assert five is not None
    assert five.num_invocations == 2
