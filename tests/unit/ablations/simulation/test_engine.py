"""Virtual time is exact: schedules computed by hand, queueing theory, and invariants over many scenarios."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import djinn
from ablations.simulation.engine import Engine
from ablations.simulation.latencies import LatencyHistogram
from ablations.simulation.scenario import ORACLE, POLICIES, Scenario
from ablations.traces import AgentTrace, stream_traces

TWO_AGENTS = (AgentTrace(0.0, 0, (10.0,), (10.0,)), AgentTrace(0.25, 1, (10.0,), (10.0,)))


class AuditedEngine(Engine):
    """An engine that checks the residency's books whenever it grants, and notes every signal."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.open_sessions: dict[str, Any] = {}
        self.largest_heap = 0

    def granted(self, session: Any, now_s: float) -> None:
        """Check, then go on."""
        self.open_sessions[session.session_id] = session
        still_open = [one for one in self.open_sessions.values() if one.state is not djinn.State.CLOSED]
        self.open_sessions = {one.session_id: one for one in still_open}
        self.residency.check_integrity(still_open)
        self.largest_heap = max(self.largest_heap, self.num_held)
        super().granted(session, now_s)


def _run(scenario: Scenario, traces: Iterator[AgentTrace], *, is_together: bool = False) -> tuple[Engine, list[float]]:
    latencies: list[float] = []
    engine = Engine(scenario, traces, is_together=is_together, record=latencies.append)
    engine.run()
    return engine, latencies


def _stream(scenario: Scenario, num_agents: int, seed: int = 7) -> Iterator[AgentTrace]:
    drawn = stream_traces(
        seed=seed,
        arrivals_per_s=scenario.arrivals_per_s,
        wait_min_s=scenario.wait_min_s,
        wait_max_s=scenario.wait_max_s,
        estimate_error=scenario.estimate_error,
        num_waits=4,
    )
    return islice(drawn, num_agents)


@pytest.mark.parametrize(
    ("policy", "latencies_s", "num_rejected"),
    [
        # A computes 0-1 and 11-12; B finds no memory at 0.25 and never will.
        ("none", [1.0, 1.0], 1),
        # A leaves at 3-3.5, B computes 3.5-4.5 and leaves at 6.5-7; A is back at 11.5, B at 15.
        ("reactive", [1.0, 4.25, 1.5, 1.5], 0),
        # A leaves at 1-1.5 because B waits, B computes 1.5-2.5 and stays until A wants it at 11: 11-11.5 out, 11.5-12 in,
        # 12-13 computes; B has asked at 12.5, so A is sent out at 13-13.5 although it ends, and B comes in at 13.5-14.
        ("lru", [1.0, 2.25, 2.0, 2.5], 0),
        # A leaves at 1-1.5, B computes 1.5-2.5 and leaves at 2.5-3; A is back at 11.5 and ends at 12.5, when B asks.
        ("proactive", [1.0, 2.25, 1.5, 1.5], 0),
        # A is copied at 1-1.5 and makes room for B; B is copied at 2.5-3 and makes room, without a copy, when A is due at 11.
        ("proactive_plus", [1.0, 2.25, 1.5, 1.5], 0),
    ],
)
def test_two_agents_in_one_slot(make_scenario: Any, policy: str, latencies_s: list[float], num_rejected: int) -> None:
    """Each policy's schedule, to the digit."""
    engine, latencies = _run(make_scenario(policy), iter(TWO_AGENTS))
    assert latencies == latencies_s
    assert engine.num_rejected == num_rejected
    assert engine.residency.num_sessions == 0
    assert engine.residency.resident_bytes == engine.residency.pool_used_bytes == 0


def test_a_prefetch_hides_the_swap(make_scenario: Any) -> None:
    """Three agents in two slots: the restore has taught the policy its lead, so later phases wait for nothing."""
    scenario = make_scenario("proactive_plus", slots=2, phases=6)
    traces = [AgentTrace(float(3 * number), 0, (10.0,), (10.0,)) for number in range(3)]
    engine, latencies = _run(scenario, iter(traces))
    assert latencies[-6:] == [1.0] * 6
    assert engine.residency.num_prefetches > 0


def test_what_changed_is_copied_alone(make_scenario: Any) -> None:
    """The second write-back of a session moves its changes: its memory is free that much sooner."""
    scenario = make_scenario("proactive_plus", phases=3)
    waits = (10.0, 10.0)
    late = AgentTrace(11.5, 1, waits, waits)
    _, latencies = _run(scenario, iter([AgentTrace(0.0, 0, waits, waits), late]))
    # A computes 0-1 and 11-12 in place, is copied whole at 1-1.5, and what changed at 12-12.125; then B has its slot.
    assert latencies[:3] == [1.0, 1.0, 0.625 + 1.0]


def test_one_processor_serves_in_order(make_scenario: Any) -> None:
    """The second request waits for the first; on shares of their own they do not."""
    for num_processors, expected in ((1, [1.0, 1.75]), (None, [1.0, 1.0])):
        scenario = make_scenario("none", slots=2, phases=1, num_processors=num_processors)
        assert _run(scenario, iter(TWO_AGENTS))[1] == expected


def test_a_phase_is_its_steps_and_their_gaps(make_scenario: Any) -> None:
    """A prefill of 1 s and three steps of 0.25 s, each 0.125 s on its way back; no prefill in the second phase."""
    scenario = make_scenario("proactive", slots=2, prefill_s=1.0, steps=3, step_s=0.25, gap_s=0.125, swap_in_s=0.5)
    assert _run(scenario, iter(TWO_AGENTS[:1]))[1] == [1.125 + 3 * 0.375, 0.5 + 3 * 0.375]


def test_a_session_may_leave_in_the_gap(make_scenario: Any) -> None:
    """LRU sees an idle session there, and takes its memory for one that waits; signals tell it apart."""
    for policy, num_evictions in (("lru", 4), ("proactive", 2)):
        scenario = make_scenario(policy, phases=2, steps=2, gap_s=0.125)
        traces = [AgentTrace(0.0, 0, (10.0,), (10.0,)), AgentTrace(0.25, 1, (10.0,), (10.0,))]
        assert _run(scenario, iter(traces))[0].residency.num_evictions >= num_evictions


def test_a_single_server_queue_agrees_with_theory(make_scenario: Any) -> None:
    """M/D/1 at half load: mean latency 1 + 0.5 / (2 * 0.5) service times (Pollaczek-Khinchine)."""
    scenario = make_scenario("none", slots=10**9, phases=1, num_processors=1, arrivals_per_s=0.5)
    histogram = LatencyHistogram()
    engine = Engine(scenario, _stream(scenario, 60_000), is_together=False, record=histogram.add)
    engine.run()
    assert histogram.total_s / histogram.num_samples == pytest.approx(1.5, rel=0.02)


@pytest.mark.parametrize("policy", POLICIES)
def test_signals_go_to_those_who_use_them(make_scenario: Any, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other policy is told of a wait."""
    announced = []
    wait = djinn.Residency.wait

    def note(self: Any, session: Any, resume_s: float | None, now_s: float) -> None:
        announced.append(session)
        wait(self, session, resume_s, now_s)

    monkeypatch.setattr(djinn.Residency, "wait", note)
    engine, _ = _run(make_scenario(policy, slots=2), iter(TWO_AGENTS))
    assert len(announced) == engine.num_signals == (2 if policy.startswith("proactive") else 0)


def test_agents_live_together(make_scenario: Any) -> None:
    """All are alive at once; each agent's steady phases are recorded, and no other."""
    scenario = make_scenario("proactive", slots=4, arrivals_per_s=0.05, wait_min_s=1.0, wait_max_s=2.0)
    engine, latencies = _run(scenario, _stream(scenario, 8), is_together=True)
    assert engine.max_alive == engine.num_finished == 8
    assert len(latencies) == 8 * scenario.steady_phases
    assert engine.num_phases > 8 * (1 + scenario.steady_phases)


def test_agents_who_cannot_all_live_give_up(make_scenario: Any) -> None:
    """Two in memory, one in the pool, and a fourth for whom nobody leaves."""
    scenario = make_scenario("proactive", slots=2, host_slots=1)
    engine, _ = _run(scenario, _stream(scenario, 4), is_together=True)
    assert (engine.num_arrived, engine.num_finished, engine.num_rejected) == (4, 0, 0)


def test_one_agent_out_of_memory_ends_a_run_together(make_scenario: Any) -> None:
    """The rest of it would decide nothing."""
    scenario = make_scenario("none", slots=2)
    engine, _ = _run(scenario, _stream(scenario, 50), is_together=True)
    assert engine.num_rejected == 1
    assert engine.num_arrived == 3


def test_memory_follows_the_agents_alive(make_scenario: Any) -> None:
    """Ten times the agents, the same heap."""
    scenario = make_scenario("proactive_plus", slots=8, arrivals_per_s=0.5)
    largest = []
    for num_agents in (500, 5000):
        engine = AuditedEngine(
            scenario, _stream(scenario, num_agents), is_together=False, record=LatencyHistogram().add
        )
        engine.run()
        assert engine.num_finished == num_agents
        assert engine.num_held == 0
        assert engine.largest_heap <= 2 * engine.max_alive + 2
        largest.append(engine.largest_heap)
    assert largest[1] <= largest[0] + 20


def test_equal_seeds_give_equal_runs(make_scenario: Any) -> None:
    """Event by event."""
    scenario = make_scenario("proactive_plus", slots=3, wait_min_s=2.0, estimate_error=0.3)
    one, other = (_run(scenario, _stream(scenario, 200), is_together=True) for _ in range(2))
    assert one[1] == other[1]
    assert one[0].num_events == other[0].num_events
    assert one[1] != _run(scenario, _stream(scenario, 200, seed=8), is_together=True)[1]


SCENARIOS = st.fixed_dictionaries(
    {
        "policy": st.sampled_from((*POLICIES[1:], ORACLE)),
        "slots": st.integers(1, 5),
        "host_slots": st.one_of(st.none(), st.integers(1, 6)),
        "num_processors": st.sampled_from((None, 1)),
        "prefill_s": st.sampled_from((0.0, 0.3, 2.0)),
        "step_s": st.floats(0.01, 1),
        "gap_s": st.sampled_from((0.0, 0.1)),
        "steps": st.integers(1, 3),
        "phases": st.integers(1, 4),
        "steady_phases": st.integers(1, 3),
        "swap_out_s": st.sampled_from((0.0, 0.1, 1.0)),
        "swap_in_s": st.sampled_from((0.0, 0.1, 1.0)),
        "delta_out_s": st.sampled_from((0.0, 0.05)),
        # Longer than the timeouts: an agent that returns sooner keeps its memory, and who waits for it may starve.
        "wait_min_s": st.floats(0.4, 2),
        "wait_max_s": st.floats(2, 5),
        "estimate_error": st.floats(0, 1),
        "idle_timeout_s": st.sampled_from((0.05, 0.3)),
        "arrivals_per_s": st.floats(0.2, 20),
        "latency_objective_s": st.just(1e4),
    }
)


@settings(max_examples=150, deadline=None)
@given(SCENARIOS, st.booleans(), st.integers(1, 25))
def test_books_balance_and_every_agent_finishes(numbers: dict[str, Any], is_together: bool, num_agents: int) -> None:
    """Never more resident than the budget or copied than the pool; Little's law; nothing is left at the end."""
    scenario = Scenario(**numbers)
    # Where nobody leaves before all have done their part, no more can live than find room somewhere.
    num_hosted = num_agents if scenario.host_slots is None else scenario.host_slots
    assume(not is_together or num_agents < scenario.slots + num_hosted)
    engine = AuditedEngine(
        scenario, _stream(scenario, num_agents), is_together=is_together, record=LatencyHistogram().add
    )
    engine.run()
    assert engine.num_finished == num_agents
    assert engine.residency.num_sessions == 0
    assert engine.residency.resident_bytes == engine.residency.pool_used_bytes == 0
    assert engine.alive_area_s == pytest.approx(engine.lived_s)
