"""Agents: sessions of a real transformer that compute, wait for a tool, and compute again.

An agent arrives by a Poisson process, opens a session with its KV cache in the session's arena, and goes through
compute phases (Reason, then Reflect) with a tool wait between them. It goes on until it has done its phases, and some of
them after the last arrival, so that all agents are alive at the same time for a while. Everything that is random is drawn from the trial's
seed beforehand: agent k has the same arrival, prompt and waits in every mode and for every number of agents.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

import torch

import djinn
from ablations.errors import MeasurementError
from ablations.models import DecoderModel, KVCache, make_cache, make_model
from ablations.settings import SemanticSignals
from ablations.studies.on_device import DEVICE, require_equal

NUM_PROMPTS = 4
# Phases that each agent goes through while all of them are alive.
_PHASES_TOGETHER = 2


@dataclass(frozen=True, slots=True)
class AgentTrace:
    """What one agent will do, whatever the mode.

    Attributes:
        arrival_s: after the start of the probe.
        prompt: which of the prompts it is given.
        waits_s: tool waits in order; reused from the start if the agent lives longer.
        estimates_s: what it tells the scheduler about each wait.
    """

    arrival_s: float
    prompt: int
    waits_s: tuple[float, ...]
    estimates_s: tuple[float, ...]


@dataclass(slots=True)
class AgentLog:
    """What happened to one agent; times in seconds since the start of the probe."""

    started_s: float = 0.0
    ended_s: float = 0.0
    request_latencies_s: list[float] = field(default_factory=list)
    outcome: str = "unfinished"
    error: Exception | None = None


def draw_traces(study: SemanticSignals, num_agents: int, seed: int) -> list[AgentTrace]:
    """Draw the first `num_agents` agents of a trial's endless sequence."""
    arrivals, waits = random.Random(f"{seed}-arrivals"), random.Random(f"{seed}-waits")
    traces = []
    arrival_s = 0.0
    for number in range(num_agents):
        waits_s = tuple(waits.uniform(study.wait_min_s, study.wait_max_s) for _ in range(4 * study.phases))
        errors = [waits.uniform(-study.estimate_error, study.estimate_error) for _ in waits_s]
        estimates_s = tuple(wait_s * (1 + error) for wait_s, error in zip(waits_s, errors, strict=True))
        traces.append(AgentTrace(arrival_s, number % NUM_PROMPTS, waits_s, estimates_s))
        arrival_s += arrivals.expovariate(study.arrivals_per_s)
    return traces


class Workload:
    """The model on the device, the prompts, and what native PyTorch computes for every phase of every prompt."""

    def __init__(self, study: SemanticSignals, seed: int) -> None:
        self.study = study
        self._remote = make_model(study.model, seed=seed).to(DEVICE)
        generator = torch.Generator().manual_seed(seed)
        size = (NUM_PROMPTS, 1, study.model.context)
        tokens = torch.randint(study.model.vocabulary, size, generator=generator)
        self._steps = [_slices(study, prompt) for prompt in tokens]
        self._remote_steps = [[(t.to(DEVICE), p.to(DEVICE)) for t, p in steps] for steps in self._steps]
        self._expected = self._compute_natively(make_model(study.model, seed=seed))

    @property
    def num_phases(self) -> int:
        """Phases for which the context has room."""
        return len(self._phase_ends())

    def open_cache(self) -> KVCache:
        """Return an empty cache in the current session's arena."""
        return make_cache(self.study.model, device=DEVICE)

    def compute_phase(self, prompt: int, phase: int, cache: KVCache) -> torch.Tensor:
        """Run one compute phase and return its last logits in host memory: the prompt first, then token by token."""
        first, last = self._bounds(phase)
        logits = None
        for tokens, positions in self._remote_steps[prompt][first:last]:
            logits = self._remote(tokens, positions, cache)
        assert logits is not None, "a phase has at least one step"
        host: torch.Tensor = logits.cpu()
        return host

    def check_phase(self, prompt: int, phase: int, logits: torch.Tensor) -> None:
        """Compare with native PyTorch; equal logits prove that every byte of the cache survived its swaps.

        Raises:
            MeasurementError: they differ.
        """
        require_equal(logits, self._expected[prompt][phase], f"phase {phase} of prompt {prompt}")

    def _phase_ends(self) -> list[int]:
        study = self.study
        room = (study.model.context - study.prompt_tokens) // study.decode_tokens
        return [1 + (number + 1) * study.decode_tokens for number in range(room)]

    def _bounds(self, phase: int) -> tuple[int, int]:
        ends = self._phase_ends()
        return (ends[phase - 1] if phase else 0), ends[phase]

    def _compute_natively(self, model: DecoderModel) -> list[list[torch.Tensor]]:
        expected = []
        for steps in self._steps:
            cache = make_cache(self.study.model, device="cpu")
            logits = [model(tokens, positions, cache) for tokens, positions in steps]
            expected.append([logits[end - 1] for end in self._phase_ends()])
        return expected


def _slices(study: SemanticSignals, prompt: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Cut a prompt (1, context) into the prefill and single tokens, each with its positions."""
    positions = torch.arange(study.model.context)
    steps = [(prompt[:, : study.prompt_tokens].contiguous(), positions[: study.prompt_tokens].clone())]
    for number in range(study.prompt_tokens, study.model.context):
        steps.append((prompt[:, number : number + 1].contiguous(), positions[number : number + 1].clone()))
    return steps


class Crowd:
    """The agents of one probe and what they share: the clock, who has arrived, and whether to give up."""

    def __init__(self, workload: Workload, traces: list[AgentTrace], *, sends_signals: bool, timeout_s: float) -> None:
        self._workload = workload
        self._traces = traces
        self._sends_signals = sends_signals
        self._start_s = time.monotonic()
        self._deadline_s = self._start_s + timeout_s
        self._arrived = 0
        self._lock = threading.Lock()
        self._give_up = threading.Event()
        self.logs = [AgentLog() for _ in traces]

    def run(self) -> None:
        """Let every agent live its life; returns when all have ended.

        Raises:
            MeasurementError: an agent met anything but the end of its work, of memory or of time.
        """
        threads = [
            threading.Thread(target=self._live, args=(number,), name=f"agent-{number}")
            for number in range(len(self._traces))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, log in enumerate(self.logs):
            if log.error is not None:
                raise MeasurementError(
                    f"Agent {number} failed ({log.error}); nothing was recorded, so run the trial again."
                ) from log.error

    def _live(self, number: int) -> None:
        log, trace = self.logs[number], self._traces[number]
        try:
            self._sleep(trace.arrival_s - self._now_s())
            log.started_s = self._now_s()
            with torch.no_grad(), djinn.session(f"agent-{number}", arena_mb=self._workload.study.arena_mb):
                self._work(trace, log)
            log.outcome = "timeout" if self._give_up.is_set() and log.outcome == "unfinished" else "finished"
        except djinn.OutOfMemoryError:
            log.outcome = "out_of_memory"
            self._give_up.set()
        except Exception as error:
            log.error = error
            self._give_up.set()
        finally:
            log.ended_s = self._now_s()

    def _work(self, trace: AgentTrace, log: AgentLog) -> None:
        with self._lock:
            self._arrived += 1
        cache = self._workload.open_cache()
        num_together = 0
        for phase in range(self._workload.num_phases):
            num_together += self._arrived == len(self._traces)
            requested_s = self._now_s()
            if phase:
                self._signal("COMPUTE")
            logits = self._workload.compute_phase(trace.prompt, phase, cache)
            log.request_latencies_s.append(self._now_s() - requested_s)
            self._workload.check_phase(trace.prompt, phase, logits)
            if phase + 1 >= self._workload.study.phases and num_together >= _PHASES_TOGETHER:
                return
            wait = phase % len(trace.waits_s)
            self._signal("IO_WAIT", estimated_resume_ms=1e3 * trace.estimates_s[wait])
            self._sleep(trace.waits_s[wait])
            if self._give_up.is_set() or time.monotonic() > self._deadline_s:
                self._give_up.set()
                return
        raise MeasurementError("an agent outlived its model's context; raise arrivals_per_s or model.context")

    def _signal(self, phase: str, estimated_resume_ms: float | None = None) -> None:
        if self._sends_signals:
            djinn.signal_phase(phase, estimated_resume_ms=estimated_resume_ms)

    def _sleep(self, duration_s: float) -> None:
        if duration_s > 0:
            self._give_up.wait(duration_s)

    def _now_s(self) -> float:
        return time.monotonic() - self._start_s
