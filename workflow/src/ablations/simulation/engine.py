"""The discrete-event engine: virtual time, links, processor and agents around the runtime's own policy and residency.

Memory follows the agents that are alive: an agent's arrival is drawn when the one before it has arrived, and what is
left of an agent that ended are counts. Events are tuples (time, number, handler, subject) in a heap; the number keeps
events of one time in the order in which they were caused, so that a run is a function of its inputs alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any

import djinn
from ablations.errors import MeasurementError
from ablations.simulation.scenario import UNLIMITED_SLOTS, Scenario
from ablations.traces import AgentTrace

_NEVER_S = float("inf")
# Memory is counted in sessions, so each takes one unit.
_UNIT = 1
_SETTLED = frozenset({djinn.State.IDLE, djinn.State.IO_WAIT, djinn.State.CLEAN, djinn.State.EVICTED})

# The scheduler's session, of which a driver needs its state, whether the host has a copy, and `user`: here an Agent.
Session = Any
Event = tuple[float, int, Callable[[Any, float], Any], Any]


class Agent:
    """Where one agent stands in its life."""

    __slots__ = ("arrived_s", "is_together", "num_together", "phase", "step", "trace", "wished_s")

    def __init__(self, trace: AgentTrace) -> None:
        self.trace = trace
        self.arrived_s = trace.arrival_s
        self.wished_s = trace.arrival_s
        self.phase = 0
        self.step = 0
        self.num_together = 0
        self.is_together = False


class Engine:
    """One run of one scenario over a stream of agents; the driver of a `djinn.Residency`.

    Attributes:
        residency: the runtime's object, with its counters.
        now_s: virtual time.
        num_events: events handled, due timeouts and prefetches included.
        num_phases: that ended, recorded or not.
        num_signals: waits announced.
        num_alive, max_alive: agents that have arrived and not ended.
        num_arrived, num_finished, num_rejected: agents.
        alive_area_s: integral of `num_alive` over time.
        lived_s: sum of the lifetimes of the agents that ended.
    """

    def __init__(
        self,
        scenario: Scenario,
        traces: Iterator[AgentTrace],
        *,
        is_together: bool,
        record: Callable[[float], None],
    ) -> None:
        """Prepare a run.

        Args:
            scenario: what to simulate.
            traces: the agents, in order of arrival; drawn one ahead.
            is_together: whether nobody leaves before all have arrived and done some phases since; of those all but each
                agent's first are recorded, and the run ends when one runs out of memory or of time. Otherwise each agent
                ends after its phases, and all of them are recorded.
            record: is given the latency of a phase in seconds when it ends.
        """
        self._policy = scenario.make_policy()
        host_slots = UNLIMITED_SLOTS if scenario.host_slots is None else scenario.host_slots
        self.residency = djinn.Residency(self._policy, self, budget_bytes=scenario.slots, pool_bytes=host_slots)
        self._traces = traces
        self._is_together = is_together
        self._record = record
        self._sends_signals = self._policy.uses_signals
        self._set_times(scenario)
        self._set_counters()
        self._heap: list[Event] = []
        self._num_pushed = 0
        self._is_last_here = self._is_over = False
        self._num_done = 0
        self._outward_free_s = self._inward_free_s = self._processor_free_s = 0.0
        # Bound once: a method is bound anew, and allocated, each time that it is named.
        self._on_request, self._on_served, self._on_arrival = self._request, self._served, self._arrive
        self._on_answered = self._answered
        self._on_copied_out, self._on_copied_in = self.residency.copied_out, self.residency.copied_in
        self._draw_next()

    def _set_times(self, scenario: Scenario) -> None:
        self._steps, self._phases = scenario.steps, scenario.phases
        # The first phase after the last arrival still feels its rush.
        self._phases_together = 1 + scenario.steady_phases
        # As in the live study: agents who have not done their part in twice the time that they should need give up.
        self._patience_s = (scenario.steady_phases + 4) * (scenario.wait_max_s + scenario.latency_objective_s)
        self._deadline_s = _NEVER_S
        self._step_s, self._gap_s = scenario.step_s, scenario.gap_s
        # The prefill comes before the steps of the first phase, if there is one.
        self._first_phase_steps = scenario.steps + (scenario.prefill_s > 0)
        self._first_step_s = scenario.prefill_s or scenario.step_s
        self._swap_out_s, self._swap_in_s = scenario.swap_out_s, scenario.swap_in_s
        self._delta_out_s = scenario.delta_out_s
        self._has_one_processor = scenario.num_processors is not None

    def _set_counters(self) -> None:
        self.now_s = 0.0
        self.num_events = self.num_phases = self.num_signals = self.num_alive = self.max_alive = 0
        self.num_arrived = self.num_finished = self.num_rejected = 0
        self.alive_area_s = self.lived_s = 0.0
        self._alive_since_s = 0.0

    @property
    def num_held(self) -> int:
        """Objects that the engine holds on to: events in the heap, one or a few for each agent alive."""
        return len(self._heap)

    def run(self) -> None:
        """Let every agent live its life.

        Raises:
            MeasurementError: agents wait for memory that nothing will free; a mistake in a policy.
        """
        heap, policy, pop = self._heap, self._policy, heapq.heappop
        num_events = 0
        # What was due and could not be done is tried again only after another event.
        is_overdue = False
        while not self._is_over:
            tick_s = policy.next_tick_s
            if not is_overdue and tick_s <= (heap[0][0] if heap else _NEVER_S) and tick_s < _NEVER_S:
                self.now_s = max(tick_s, self.now_s)
                self.residency.tick(self.now_s)
                is_overdue = policy.next_tick_s <= self.now_s
            elif heap:
                is_overdue = False
                now_s, _, handle, subject = pop(heap)
                self.now_s = now_s
                handle(subject, now_s)
            else:
                break
            num_events += 1
        self.num_events += num_events
        self._count_alive(0)
        if self.num_alive and not self._is_over:
            raise MeasurementError(
                f"{self.num_alive} simulated agents wait for memory that nothing will free; mend policy {self._policy!r}."
            )

    def stop(self) -> None:
        """End the run after the present event: its outcome is known."""
        self._is_over = True

    # What the residency asks of its driver.

    def copy_out(self, session: Session) -> None:
        """Send a session's bytes out behind those that are under way."""
        start_s = self._outward_free_s if self._outward_free_s > self.now_s else self.now_s
        self._outward_free_s = done_s = start_s + (self._delta_out_s if session.has_copy else self._swap_out_s)
        self._push(done_s, self._on_copied_out, session)

    def copy_in(self, session: Session) -> None:
        """Bring a session's bytes in behind those that are under way."""
        start_s = self._inward_free_s if self._inward_free_s > self.now_s else self.now_s
        self._inward_free_s = done_s = start_s + self._swap_in_s
        self._push(done_s, self._on_copied_in, session)

    def granted(self, session: Session, now_s: float) -> None:
        """Let a request occupy the processor, after those that came before it if there is only one."""
        agent = session.user
        service_s = self._step_s if agent.phase or agent.step else self._first_step_s
        if self._has_one_processor:
            start_s = self._processor_free_s if self._processor_free_s > now_s else now_s
            self._processor_free_s = done_s = start_s + service_s
        else:
            done_s = now_s + service_s
        self._push(done_s, self._on_served, session)

    def rejected(self, session: Session, now_s: float) -> None:
        """End an agent that will never get memory."""
        self.num_rejected += 1
        if self._is_together:
            self.stop()
        self._end(session, now_s)

    def released(self, session: Session) -> None:
        """Virtual memory needs no care."""

    def forgot_copy(self, session: Session) -> None:
        """Neither does the host's."""

    # An agent's life.

    def _draw_next(self) -> None:
        trace = next(self._traces, None)
        if trace is None:
            self._is_last_here = True
            if self._is_together:
                self._deadline_s = 2 * (self.now_s + self._patience_s)
        else:
            self._push(trace.arrival_s, self._on_arrival, trace)

    def _arrive(self, trace: AgentTrace, now_s: float) -> None:
        self._count_alive(1)
        self.num_arrived += 1
        self._draw_next()
        session = self.residency.open(f"agent-{self.num_arrived}", _UNIT, Agent(trace))
        self._request(session, now_s)

    def _request(self, session: Session, now_s: float) -> None:
        agent = session.user
        if not agent.step:
            agent.wished_s = now_s
            agent.is_together = self._is_last_here
            agent.num_together += self._is_last_here
        if self.residency.request(session, now_s):
            self.granted(session, now_s)

    def _served(self, session: Session, now_s: float) -> None:
        self.residency.finish(session, now_s)
        if self._gap_s:
            self._push(now_s + self._gap_s, self._on_answered, session)
        else:
            self._answered(session, now_s)

    def _answered(self, session: Session, now_s: float) -> None:
        """Go on with the next step, or with what comes after the phase."""
        agent = session.user
        agent.step += 1
        if agent.step == (self._steps if agent.phase else self._first_phase_steps):
            self._finish_phase(session, agent, now_s)
        else:
            self._request(session, now_s)

    def _finish_phase(self, session: Session, agent: Agent, now_s: float) -> None:
        self.num_phases += 1
        phase = agent.phase
        agent.phase, agent.step = phase + 1, 0
        if self._is_together:
            if agent.is_together and 1 < agent.num_together <= self._phases_together:
                self._record(now_s - agent.wished_s)
                self._num_done += agent.num_together == self._phases_together
            is_last_phase = self._is_last_here and self._num_done == self.num_arrived
        else:
            self._record(now_s - agent.wished_s)
            is_last_phase = agent.phase == self._phases
        if is_last_phase:
            self.num_finished += 1
            self._end(session, now_s)
        else:
            self._wait(session, agent.trace, phase, now_s)
            if now_s > self._deadline_s:
                self.stop()

    def _wait(self, session: Session, trace: AgentTrace, phase: int, now_s: float) -> None:
        place = phase % len(trace.waits_s)
        if self._sends_signals:
            self.num_signals += 1
            self.residency.wait(session, now_s + trace.estimates_s[place], now_s)
        self._push(now_s + trace.waits_s[place], self._on_request, session)

    def _end(self, session: Session, now_s: float) -> None:
        self._count_alive(-1)
        self.lived_s += now_s - session.user.arrived_s
        self._close(session, now_s)

    def _close(self, session: Session, now_s: float) -> None:
        """Close a session, or try again when its copy is done if it was chosen to leave as its last request ended."""
        if session.state in _SETTLED or session.state is djinn.State.NEW:
            self.residency.close(session, now_s)
        else:
            self._push(self._outward_free_s, self._close, session)

    def _count_alive(self, change: int) -> None:
        self.alive_area_s += self.num_alive * (self.now_s - self._alive_since_s)
        self._alive_since_s = self.now_s
        self.num_alive += change
        self.max_alive = max(self.max_alive, self.num_alive)

    def _push(self, when_s: float, handle: Callable[[Any, float], Any], subject: Any) -> None:
        self._num_pushed += 1
        heapq.heappush(self._heap, (when_s, self._num_pushed, handle, subject))
