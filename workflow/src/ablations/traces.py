"""Agent traces: who arrives when, how long each wait takes and what is announced about it; drawn from a seed or read from a file.

The live study and the simulation give the same trace to every policy. Agent k is the same for every number of agents.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from ablations.errors import SettingsError

NUM_PROMPTS = 4
# Seeds of trials are below 2**32.
_REPETITION_STRIDE = 2**32


@dataclass(frozen=True, slots=True)
class AgentTrace:
    """What one agent will do, whatever the policy.

    Attributes:
        arrival_s: after the start.
        prompt: which of the prompts it is given.
        waits_s: tool waits in order; reused from the start if the agent lives longer.
        estimates_s: what it tells the scheduler about each wait.
    """

    arrival_s: float
    prompt: int
    waits_s: tuple[float, ...]
    estimates_s: tuple[float, ...]


def stream_traces(
    *, seed: int, arrivals_per_s: float, wait_min_s: float, wait_max_s: float, estimate_error: float, num_waits: int
) -> Iterator[AgentTrace]:
    """Draw agents without end: Poisson arrivals from 0, uniform waits, estimates off by a uniform relative error.

    Args:
        seed: of all draws.
        arrivals_per_s: mean rate of arrivals.
        wait_min_s, wait_max_s: range of the waits.
        estimate_error: largest relative error of an estimate, 0 to 1.
        num_waits: waits of each agent.

    Raises:
        SettingsError: a rate, time or error out of its range.
    """
    require_draws(arrivals_per_s, wait_min_s, wait_max_s, estimate_error)
    return _draw(seed, arrivals_per_s, (wait_min_s, wait_max_s), estimate_error, num_waits)


def repetition_seed(seed: int, repetition: int) -> int:
    """Return the seed of a repetition of a trial's probe, which has arrivals and waits of its own; the first has the trial's."""
    return seed + _REPETITION_STRIDE * repetition


def draw_traces(
    num_agents: int,
    *,
    seed: int,
    arrivals_per_s: float,
    wait_min_s: float,
    wait_max_s: float,
    estimate_error: float,
    num_waits: int,
) -> list[AgentTrace]:
    """Draw the first `num_agents` of the agents that `stream_traces` draws."""
    drawn = stream_traces(
        seed=seed,
        arrivals_per_s=arrivals_per_s,
        wait_min_s=wait_min_s,
        wait_max_s=wait_max_s,
        estimate_error=estimate_error,
        num_waits=num_waits,
    )
    return list(islice(drawn, num_agents))


def read_traces(path: Path, num_agents: int) -> list[AgentTrace]:
    """Read agents from JSON: a list of objects with `arrival_s`, `waits_s`, `estimates_s` and, optionally, `prompt`.

    Args:
        path: of the file.
        num_agents: how many agents it is said to hold.

    Raises:
        SettingsError: a file that cannot be read, another number of agents, arrivals out of order, a time that is
            negative or not a number, or a prompt that there is none of.
    """
    agents = _read_list(path)
    if len(agents) != num_agents:
        raise SettingsError(
            f"Trace file {path} holds {len(agents)} agents, not the {num_agents} stated; state the number that it holds."
        )
    traces = [_parse(path, number, agent) for number, agent in enumerate(agents)]
    for number, (before, after) in enumerate(pairwise(traces), start=1):
        if after.arrival_s < before.arrival_s:
            raise SettingsError(
                f"Trace file {path} is not sorted: agent {number} arrives at {after.arrival_s} s, before agent {number - 1} "
                f"at {before.arrival_s} s; sort the agents by arrival_s."
            )
    return traces


def require_draws(arrivals_per_s: float, wait_min_s: float, wait_max_s: float, estimate_error: float) -> None:
    """Refuse what no trace can be drawn from.

    Raises:
        SettingsError: the first value out of its range.
    """
    if not 0 < arrivals_per_s < math.inf:
        raise SettingsError(f"arrivals_per_s is {arrivals_per_s}, but must be a positive number; correct it.")
    for name, value in (("wait_min_s", wait_min_s), ("wait_max_s", wait_max_s)):
        if not 0 <= value < math.inf:
            raise SettingsError(f"{name} is {value}, but must be a number of seconds from 0 on; correct it.")
    if wait_min_s > wait_max_s:
        raise SettingsError(f"wait_min_s is {wait_min_s}, more than wait_max_s, {wait_max_s}; swap them.")
    if not 0 <= estimate_error <= 1:
        raise SettingsError(f"estimate_error is {estimate_error}, but must be a share from 0 to 1; correct it.")


def _draw(
    seed: int, arrivals_per_s: float, wait_range_s: tuple[float, float], estimate_error: float, num_waits: int
) -> Iterator[AgentTrace]:
    arrivals, waits = random.Random(f"{seed}-arrivals"), random.Random(f"{seed}-waits")
    uniform = waits.uniform
    shortest_s, longest_s = wait_range_s
    arrival_s = 0.0
    number = 0
    while True:
        waits_s = tuple([uniform(shortest_s, longest_s) for _ in range(num_waits)])
        estimates_s = tuple([wait_s * (1 + uniform(-estimate_error, estimate_error)) for wait_s in waits_s])
        yield AgentTrace(arrival_s, number % NUM_PROMPTS, waits_s, estimates_s)
        arrival_s += arrivals.expovariate(arrivals_per_s)
        number += 1


def _read_list(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"Trace file {path} cannot be read ({error.strerror}); pass an existing file.") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"Trace file {path} is not JSON ({error}); write a list of agents.") from error
    if not isinstance(content, list):
        raise SettingsError(f"Trace file {path} holds no list of agents; write one object for each agent in a list.")
    return content


def _parse(path: Path, number: int, agent: Any) -> AgentTrace:
    if not isinstance(agent, dict) or not {"arrival_s", "waits_s", "estimates_s"} <= set(agent):
        raise SettingsError(
            f"Trace file {path}: agent {number} lacks arrival_s, waits_s or estimates_s; give it all three."
        )
    waits_s, estimates_s = agent["waits_s"], agent["estimates_s"]
    are_lists = isinstance(waits_s, list) and isinstance(estimates_s, list)
    if not are_lists or not waits_s or len(waits_s) != len(estimates_s):
        raise SettingsError(
            f"Trace file {path}: waits_s and estimates_s of agent {number} are not two lists of one length, at least 1; "
            "give each wait its estimate."
        )
    for time_s in (agent["arrival_s"], *waits_s, *estimates_s):
        is_number = isinstance(time_s, int | float) and not isinstance(time_s, bool)
        # JSON's whole numbers have no limit, unlike floats.
        if not is_number or not 0 <= time_s <= sys.float_info.max:
            raise SettingsError(
                f"Trace file {path}: agent {number} has a time of {time_s!r}, but times are seconds from 0 on; correct it."
            )
    prompt = agent.get("prompt", number % NUM_PROMPTS)
    if not isinstance(prompt, int) or isinstance(prompt, bool) or not 0 <= prompt < NUM_PROMPTS:
        raise SettingsError(
            f"Trace file {path}: agent {number} has prompt {prompt!r}, but prompts are numbered from 0 to {NUM_PROMPTS - 1}; "
            "correct it."
        )
    return AgentTrace(float(agent["arrival_s"]), prompt, tuple(waits_s), tuple(estimates_s))
