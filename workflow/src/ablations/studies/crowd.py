"""The agents of one probe: threads that open a session, compute, wait for a tool, and compute again.

An agent arrives by a Poisson process and goes through compute phases (Reason, then Reflect) with a tool wait between
them. Nobody leaves before all have arrived and have done some phases since, so that all are alive together. What is
reported are the requests of that time, but for each agent's first, when the rush of the arrivals is still felt.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import torch

import djinn
from ablations.errors import MeasurementError
from ablations.models import KVCache
from ablations.studies.agents import Workload
from ablations.studies.results import require
from ablations.traces import AgentTrace

_SAMPLING_INTERVAL_S = 0.02


@dataclass(slots=True)
class Request:
    """One compute phase, from the wish to compute to its last logits.

    Attributes:
        is_steady: whether it belongs to what is reported.
        latency_s: all of it, pauses between tokens included.
        restore_s: bringing the session back into device memory.
        queue_s: waiting for room there, for the processor and for messages.
        compute_s: on the server.
    """

    is_steady: bool = False
    latency_s: float = 0.0
    restore_s: float = 0.0
    queue_s: float = 0.0
    compute_s: float = 0.0


@dataclass(slots=True)
class AgentLog:
    """What happened to one agent; times in seconds since the start of the probe."""

    started_s: float = 0.0
    ended_s: float = 0.0
    requests: list[Request] = field(default_factory=list)
    num_checksums: int = 0
    outcome: str = "unfinished"
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Who held which memory at one moment of a probe."""

    at_s: float
    alive: int
    resident_bytes: int
    host_pool_bytes: int


class Crowd:
    """The agents of one probe and what they share: the clock, who has arrived, and whether to give up.

    Attributes:
        logs: of each agent.
        timeline: occupancy, sampled while they live.
    """

    def __init__(
        self,
        workload: Workload,
        traces: list[AgentTrace],
        *,
        sends_signals: bool,
        timeout_s: float,
        steady_phases: int,
        verifies_memory: bool = False,
    ) -> None:
        """Prepare a crowd.

        Args:
            workload: what agents compute.
            traces: what each of them will do.
            sends_signals: whether they announce their phases.
            timeout_s: after which all of them give up.
            steady_phases: how many phases each agent does before anybody leaves, after one that is left out.
            verifies_memory: whether each wait compares the cache's checksum before it with that after the restore.
        """
        self._workload = workload
        self._traces = traces
        self._sends_signals = sends_signals
        self._verifies_memory = verifies_memory
        self._start_s = time.monotonic()
        self._deadline_s = self._start_s + timeout_s
        self._num_phases_together = 1 + steady_phases
        self._arrived = 0
        self._num_alive = 0
        self._num_done = 0
        self._lock = threading.Lock()
        self._gives_up = False
        # Ends every wait: nothing more is to come of a crowd that gives up, or of one that has done its part.
        self._wake = threading.Event()
        self._ended = threading.Event()
        self.logs = [AgentLog() for _ in traces]
        self.timeline: list[Occupancy] = []

    def run(self) -> None:
        """Let every agent live its life; returns when all have ended.

        Raises:
            MeasurementError: an agent met anything but the end of its work, of memory or of time, or got no thread.
        """
        sampler = threading.Thread(target=self._sample, name="occupancy")
        threads = [
            threading.Thread(target=self._live, args=(number,), name=f"agent-{number}")
            for number in range(len(self._traces))
        ]
        try:
            _start_all([sampler, *threads])
        except MeasurementError:
            self._give_up()
            self._await_ends(threads, sampler)
            raise
        self._await_ends(threads, sampler)
        for number, log in enumerate(self.logs):
            if log.error is not None:
                raise MeasurementError(
                    f"Agent {number} failed ({log.error}); nothing was recorded, so run the trial again."
                ) from log.error

    def _await_ends(self, agents: list[threading.Thread], sampler: threading.Thread) -> None:
        for thread in agents:
            if thread.ident is not None:  # it was started
                thread.join()
        self._ended.set()
        sampler.join()

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLING_INTERVAL_S):
            try:
                scheduler = djinn.stats()["scheduler"]
            except djinn.ServerDiedError:  # the agents meet it too, and the trial fails with what they say
                return
            self.timeline.append(
                Occupancy(
                    self._now_s(), self._num_alive, scheduler["resident_bytes"], scheduler["host_pool_used_bytes"]
                )
            )

    def _live(self, number: int) -> None:
        log, trace = self.logs[number], self._traces[number]
        try:
            self._sleep(trace.arrival_s - self._now_s())
            log.started_s = self._now_s()
            with torch.no_grad(), djinn.session(f"agent-{number}", arena_mb=self._workload.study.arena_mb) as session:
                self._work(trace, log, session)
            log.outcome = "timeout" if self._gives_up else "finished"
        except djinn.OutOfMemoryError:
            log.outcome = "out_of_memory"
            self._give_up()
        except Exception as error:
            log.error = error
            self._give_up()
        finally:
            log.ended_s = self._now_s()

    def _work(self, trace: AgentTrace, log: AgentLog, session: djinn.Session) -> None:
        with self._lock:
            self._arrived += 1
            self._num_alive += 1
        try:
            self._alternate(trace, log, session)
        finally:
            with self._lock:
                self._num_alive -= 1

    def _alternate(self, trace: AgentTrace, log: AgentLog, session: djinn.Session) -> None:
        """Compute and wait in turns until everybody has done their part."""
        cache = self._workload.open_cache()
        num_together = 0
        for phase in range(self._workload.num_phases):
            everybody_lives = self._arrived == len(self._traces)
            request = self._compute_phase(trace.prompt, phase, cache)
            log.requests.append(request)
            if everybody_lives:
                num_together += 1
                request.is_steady = 1 < num_together <= self._num_phases_together
                if num_together == self._num_phases_together:
                    self._note_done()
            if self._is_done:
                return
            self._wait_for_tool(trace, phase, log, session, cache)
            if self._is_done:
                return
            if self._gives_up or time.monotonic() > self._deadline_s:
                self._give_up()
                return
        raise MeasurementError("an agent outlived its model's context; raise arrivals_per_s or model.context")

    def _wait_for_tool(
        self, trace: AgentTrace, phase: int, log: AgentLog, session: djinn.Session, cache: KVCache
    ) -> None:
        wait = phase % len(trace.waits_s)
        digest = session.checksum() if self._verifies_memory else None
        if self._sends_signals:
            djinn.signal_phase("IO_WAIT", estimated_resume_ms=1e3 * trace.estimates_s[wait])
        self._sleep(trace.waits_s[wait])
        if digest is not None:
            _require_same_bytes(digest, session, cache)
            log.num_checksums += 1

    def _compute_phase(self, prompt: int, phase: int, cache: KVCache) -> Request:
        request = Request()
        start_s = time.monotonic()
        if phase and self._sends_signals:
            request.restore_s = djinn.signal_phase("COMPUTE") / 1e6
            request.queue_s = time.monotonic() - start_s - request.restore_s
        logits = None
        for step in self._workload.steps(prompt, phase):
            logits = self._workload.compute(step, cache)
            _count(request)
        request.latency_s = time.monotonic() - start_s
        assert logits is not None, "a phase has at least one step"
        self._workload.check_phase(prompt, phase, logits)
        return request

    def _sleep(self, duration_s: float) -> None:
        if duration_s > 0:
            self._wake.wait(duration_s)

    @property
    def _is_done(self) -> bool:
        """Whether every agent has done its part."""
        return self._num_done == len(self._traces)

    def _note_done(self) -> None:
        """Count an agent that has done its part; the last one ends the waits of the others."""
        with self._lock:
            self._num_done += 1
        if self._is_done:
            self._wake.set()

    def _give_up(self) -> None:
        self._gives_up = True
        self._wake.set()

    def _now_s(self) -> float:
        return time.monotonic() - self._start_s


def _start_all(threads: list[threading.Thread]) -> None:
    for number, thread in enumerate(threads):
        try:
            thread.start()
        except RuntimeError as error:
            raise MeasurementError(
                f"Only {number} of {len(threads)} threads could be started; end other programs or raise `ulimit -u`, then "
                "run the trial again."
            ) from error


def _count(request: Request) -> None:
    """Add what the last call took to a request."""
    call = djinn.last_call()
    assert call is not None, "a call left no timestamps"
    restore_s = call.restore_us / 1e6
    request.restore_s += restore_s
    request.queue_s += (call.started_ns - call.sent_ns) / 1e9 - restore_s
    request.compute_s += (call.finished_ns - call.started_ns) / 1e9


def _require_same_bytes(digest: str, session: djinn.Session, cache: KVCache) -> None:
    """Read one element, which brings the whole session back, and compare the digest of its memory with an earlier one."""
    cache[0][0][0, 0, 0, 0].item()
    require(session.checksum() == digest, f"the memory of {session.session_id} changed while it waited")
