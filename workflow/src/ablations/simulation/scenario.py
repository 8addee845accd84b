"""What is simulated: the device, the links, the agents and the policy, in plain numbers that are checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import djinn
from ablations.errors import SettingsError
from ablations.traces import require_draws

POLICIES = ("none", "reactive", "lru", "proactive", "proactive_plus")
# The upper bound: the policy that makes the most of estimates, given exact ones.
ORACLE = "oracle"
UNLIMITED_SLOTS = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One policy on one device with one kind of agent. Times in seconds; memory in sessions, which are all of one size.

    Attributes:
        policy: a scheduling mode, or `oracle`: proactive_plus whose estimates are exact.
        slots: sessions that fit the device.
        host_slots: sessions that fit the host pool; None: all of them.
        num_processors: 1: requests compute one after another; None: each on its own share, as in a batch.
        prefill_s: service time of an agent's first request, which comes before the steps of its first phase; 0 for none.
        step_s: service time of every other request.
        gap_s: after each request, until the client has its answer and goes on; the session is idle meanwhile.
        steps: requests of a phase.
        phases: of an agent that comes and leaves.
        steady_phases: phases of each agent that count where all are alive at once; one before them does not.
        swap_out_s, swap_in_s: to move a whole session.
        delta_out_s: to move what a phase changed of a session that the host has a copy of.
        wait_min_s, wait_max_s: tool waits between phases, uniform.
        estimate_error: largest relative error of the announced wait.
        idle_timeout_s: of policy reactive.
        arrivals_per_s: Poisson arrivals.
        latency_objective_s: what p99 of request latency is to keep: from the wish for a phase to its end.

    Raises:
        SettingsError: an unknown policy, or a number out of its range.
    """

    policy: str
    slots: int
    host_slots: int | None
    num_processors: int | None
    prefill_s: float
    step_s: float
    gap_s: float
    steps: int
    phases: int
    steady_phases: int
    swap_out_s: float
    swap_in_s: float
    delta_out_s: float
    wait_min_s: float
    wait_max_s: float
    estimate_error: float
    idle_timeout_s: float
    arrivals_per_s: float
    latency_objective_s: float

    def __post_init__(self) -> None:
        if self.policy not in (*POLICIES, ORACLE):
            raise SettingsError(f"Policy {self.policy!r} is unknown; choose one of {', '.join((*POLICIES, ORACLE))}.")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_s") and not 0 <= value < math.inf:
                raise SettingsError(f"{field.name} is {value}, but must be a number from 0 on; correct it.")
        for name in ("step_s", "latency_objective_s", "idle_timeout_s"):
            if getattr(self, name) == 0:
                raise SettingsError(f"{name} is 0, but must be positive; correct it.")
        require_draws(self.arrivals_per_s, self.wait_min_s, self.wait_max_s, self.estimate_error)
        self._require_counts()

    @property
    def mode(self) -> str:
        """The scheduling mode that the policy runs in."""
        return "proactive_plus" if self.policy == ORACLE else self.policy

    @property
    def compute_s(self) -> float:
        """Processor time of a phase other than the first."""
        return self.steps * self.step_s

    @property
    def phase_s(self) -> float:
        """Length of a phase other than the first that waits for nothing, gaps included."""
        return self.steps * (self.step_s + self.gap_s)

    def essential(self) -> Scenario:
        """Return the scenario without what its policy has no use for: equal essentials give equal runs."""
        estimate_error = self.estimate_error if self.policy == "proactive_plus" else 0.0
        # Any positive number does.
        idle_timeout_s = self.idle_timeout_s if self.policy == "reactive" else 1.0
        return replace(self, estimate_error=estimate_error, idle_timeout_s=idle_timeout_s)

    def make_policy(self) -> djinn.Policy:
        """Return a fresh policy of the runtime."""
        return djinn.make_policy(self.mode, idle_timeout_s=self.idle_timeout_s)

    def bound(self) -> float:
        """Return how many agents can be alive without queues growing: the least of memory, processor, link and pool.

        N <= min(B(c+W)/(c+2s+tau), P(c+W)/c, (c+W)/s, B+H), by Little's law on each resource, for B slots, H host
        slots, P processors, phases of c, mean waits of W, swaps of s in each direction and an idle timeout of tau.
        """
        if self.policy == "none":
            return float(self.slots)
        cycle_s = self.phase_s + (self.wait_min_s + self.wait_max_s) / 2
        held_s = self.phase_s + self.swap_out_s + self.swap_in_s
        if self.policy == "reactive":
            held_s += self.idle_timeout_s
        outward_s = self.delta_out_s if self.mode == "proactive_plus" else self.swap_out_s
        num_hosted = UNLIMITED_SLOTS if self.host_slots is None else self.host_slots
        bounds = [self.slots * cycle_s / held_s, self.slots + num_hosted]
        if self.num_processors is not None:
            bounds.append(self.num_processors * cycle_s / self.compute_s)
        slowest_s = max(self.swap_in_s, outward_s)
        if slowest_s > 0:
            # Sessions that stay where they are while there is room use no link.
            num_kept = self.slots if self.mode in ("lru", "proactive_plus") else 0
            bounds.append(num_kept + cycle_s / slowest_s)
        return float(min(bounds))

    def _require_counts(self) -> None:
        for name in ("slots", "steps", "phases", "steady_phases"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, but must be at least 1; raise it.")
        if self.num_processors not in (None, 1):
            raise SettingsError(
                f"num_processors is {self.num_processors}, but must be 1 or null for a batch; choose one of them."
            )
        if self.host_slots is not None and self.host_slots < 1:
            raise SettingsError(f"The host pool holds {self.host_slots} sessions, less than one; raise its size.")
