"""Traces are drawn the same for every number of agents, and a trace file is refused before anything runs on it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ablations.errors import SettingsError
from ablations.traces import AgentTrace, draw_traces, read_traces

DRAWS: dict[str, Any] = {
    "seed": 7,
    "arrivals_per_s": 2.0,
    "wait_min_s": 10.0,
    "wait_max_s": 20.0,
    "estimate_error": 0.2,
    "num_waits": 8,
}


def _agent(arrival_s: Any = 0.0, waits_s: Any = (1.0, 2.0), estimates_s: Any = (1.1, 1.9)) -> dict[str, Any]:
    return {"arrival_s": arrival_s, "waits_s": waits_s, "estimates_s": estimates_s}


def test_the_first_agents_are_the_same_for_every_number() -> None:
    """Probes of different sizes are comparable."""
    assert draw_traces(9, **DRAWS)[:3] == draw_traces(3, **DRAWS)
    assert draw_traces(3, **DRAWS) != draw_traces(3, **{**DRAWS, "seed": 8})


def test_an_error_changes_estimates_alone() -> None:
    """Policies and errors meet the same arrivals and waits."""
    exact, rough = (draw_traces(20, **{**DRAWS, "estimate_error": error}) for error in (0.0, 0.5))
    for one, other in zip(exact, rough, strict=True):
        assert (one.arrival_s, one.waits_s) == (other.arrival_s, other.waits_s)
        assert one.estimates_s == one.waits_s
        for wait_s, estimate_s in zip(other.waits_s, other.estimates_s, strict=True):
            assert 10.0 <= wait_s <= 20.0
            assert abs(estimate_s / wait_s - 1) <= 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arrivals_per_s": -0.2}, "arrivals_per_s is -0.2, but must be a positive number"),
        ({"arrivals_per_s": math.nan}, "arrivals_per_s is nan, but must be a positive number"),
        ({"wait_min_s": -1.0}, "wait_min_s is -1.0, but must be a number of seconds from 0 on"),
        ({"wait_max_s": math.nan}, "wait_max_s is nan"),
        ({"wait_min_s": 21.0}, "wait_min_s is 21.0, more than wait_max_s, 20.0; swap them"),
        ({"estimate_error": 1.5}, "estimate_error is 1.5, but must be a share from 0 to 1"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(change: dict[str, float], message: str) -> None:
    """Before the first agent."""
    with pytest.raises(SettingsError, match=message):
        draw_traces(1, **{**DRAWS, **change})


def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    """Prompts may be left out."""
    path = tmp_path / "traces.json"
    path.write_text(json.dumps([_agent(), {**_agent(0.5), "prompt": 3}]))
    assert read_traces(path, 2) == [
        AgentTrace(0.0, 0, (1.0, 2.0), (1.1, 1.9)),
        AgentTrace(0.5, 3, (1.0, 2.0), (1.1, 1.9)),
    ]


@pytest.mark.parametrize(
    ("agents", "message"),
    [
        ([_agent()], "holds 1 agents, not the 2 stated"),
        ([_agent(1.0), _agent(0.5)], "is not sorted: agent 1 arrives at 0.5 s, before agent 0 at 1.0 s"),
        ([_agent(), {"arrival_s": 1.0}], "agent 1 lacks arrival_s, waits_s or estimates_s"),
        ([_agent(), _agent(1.0, waits_s=[1.0])], "waits_s and estimates_s of agent 1 are not two lists of one length"),
        ([_agent(), _agent(1.0, (), ())], "of agent 1 are not two lists of one length, at least 1"),
        ([_agent(-1.0), _agent()], "agent 0 has a time of -1.0"),
        ([_agent(math.nan), _agent()], "agent 0 has a time of nan"),
        ([_agent(), _agent("1")], "agent 1 has a time of '1'"),
        ([_agent(), _agent(10**400)], "agent 1 has a time of 1000"),
        ([_agent(), {**_agent(1.0), "prompt": "x"}], "agent 1 has prompt 'x', but prompts are numbered from 0 to 3"),
        ([_agent(), {**_agent(1.0), "prompt": 4}], "agent 1 has prompt 4, but"),
        ({"agents": []}, "holds no list of agents"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, agents: Any, message: str) -> None:
    """With the agent and what is wrong with it."""
    path = tmp_path / "traces.json"
    path.write_text(json.dumps(agents))
    with pytest.raises(SettingsError, match=message) as caught:
        read_traces(path, 2)
    assert str(path) in str(caught.value)


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(SettingsError, match="absent.json cannot be read"):
        read_traces(tmp_path / "absent.json", 1)
    (tmp_path / "bad.json").write_text("[")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for name in ("bad.json", "deep.json"):
        with pytest.raises(SettingsError, match=rf"{name} is not JSON"):
            read_traces(tmp_path / name, 1)
