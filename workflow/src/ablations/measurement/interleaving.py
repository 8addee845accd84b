"""Arms that are compared alternate in one process, in seeded random order.

Alternating cancels the machine's drift; Google Benchmark found that random interleaving removes about 40 % of the
variance between runs. Before each block the process pauses, so that a worker thread or server that still polls after
one arm cannot slow the next one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns

DEFAULT_SETTLE_S = 0.005


@dataclass(slots=True)
class Arm:
    """One of the things that are compared.

    Attributes:
        name: of the arm.
        call: measures one sample and returns its duration in nanoseconds.
        block: consecutive samples each time it is this arm's turn.
        max_blocks: turns after which the arm is done; None takes part in every round.
        lead_in: a call before each block that is no sample: after the pause, processors and processes are asleep.
        num_lead_ins: how many of them each time.
        after_block: called after each block, for what must not come between two samples.
        samples_us: durations in order.
        lead_in_us: durations of the lead-in calls, kept apart.
    """

    name: str
    call: Callable[[], int]
    block: int = 1
    max_blocks: int | None = None
    lead_in: Callable[[], int] | None = None
    num_lead_ins: int = 1
    after_block: Callable[[], None] = lambda: None
    samples_us: list[float] = field(default_factory=list)
    lead_in_us: list[float] = field(default_factory=list)
    num_blocks: int = 0


def alternate(
    arms: Sequence[Arm],
    *,
    rounds: int,
    seed: int,
    settle_s: float = DEFAULT_SETTLE_S,
    on_round: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Give every arm one turn a round, in an order that is drawn anew each round, and return the turns as they ran."""
    generator = random.Random(seed)
    order: list[str] = []
    for number in range(rounds):
        turns = [arm for arm in arms if arm.max_blocks is None or arm.num_blocks < arm.max_blocks]
        generator.shuffle(turns)
        for arm in turns:
            time.sleep(settle_s)
            if arm.lead_in is not None:
                arm.lead_in_us.extend(arm.lead_in() / 1e3 for _ in range(arm.num_lead_ins))
            arm.samples_us.extend(arm.call() / 1e3 for _ in range(arm.block))
            arm.after_block()
            arm.num_blocks += 1
            order.append(arm.name)
        on_round(number + 1)
    return order


def timer_floor_us(num_samples: int = 1000) -> list[float]:
    """Return the durations that the clock shows for doing nothing, in microseconds."""
    samples = []
    for _ in range(num_samples):
        start_ns = perf_counter_ns()
        samples.append((perf_counter_ns() - start_ns) / 1e3)
    return samples
