"""Simulates forward without leaving traces: values that it changed and random numbers that it drew are put back.

torch's own numbers are not drawn at all: a simulation ends at an operation that would draw them on the host. Those of Python and NumPy have one state for all threads, so what another thread draws meanwhile is taken
for forward's.

The simulation of a call that cannot become a plan is followed by the call itself, whose side effects shall be the only
ones. Constants that forward assigns to globals and classes are put back too. What it
does to global objects, files and the like is beyond this.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from djinn.device.snapshot import Snapshot
from djinn.tracing import SideEffectError, UnplannableError


class StateError(UnplannableError):
    """A call that assigned what its code keeps outside of the module, and may not the next time."""


@contextmanager
def without_side_effects(snapshot: Snapshot) -> Iterator[None]:
    """Refuse a simulation that has side effects, and undo them.

    Args:
        snapshot: of the values that the module keeps, and of what its code mentions.

    Raises:
        SideEffectError: there were side effects; after any other exception they are only undone.
        StateError: forward assigned other constants to globals or to attributes of classes.
        UnplannableError: somebody else changed what the code mentions meanwhile.
    """
    generators, states = _random_states(), snapshot.names.states()
    try:
        yield
    finally:
        drew = _restore(generators)
        changed = not snapshot.has_same_values()
        was_renamed = not snapshot.names.are_same()
        if changed:
            snapshot.restore()
        # Where there are other threads, it may be them who count.
        counted = snapshot.names.take_back_states(states, is_alone=threading.active_count() == 1)
    if drew:
        raise SideEffectError("forward draws random numbers on the host")
    if changed:
        raise SideEffectError("forward changes values that the module keeps")
    if counted:
        raise StateError("forward assigns constants to globals or to attributes of classes")
    if was_renamed:
        raise UnplannableError("what the module's code mentions changed while its call was planned")


def _random_states() -> tuple[Any, Any, int, torch.Tensor]:
    return random.getstate(), np.random.get_state(legacy=True), torch.initial_seed(), torch.get_rng_state()


def _restore(states: tuple[Any, Any, int, torch.Tensor]) -> bool:
    """Restore the states of the host's global random generators, and tell whether any was another one.

    torch's is another one if its generator was seeded. Where there are other threads, which may draw from it at any time,
    only another seed shows that.
    """
    python, (_, *numpy), seed, native = states
    now_python, (_, *now_numpy), now_seed, now_native = _random_states()
    was_set = now_seed != seed or (threading.active_count() == 1 and not torch.equal(now_native, native))
    is_same = now_python == python and all(map(np.array_equal, now_numpy, numpy)) and not was_set
    if not is_same:
        random.setstate(python)
        np.random.set_state(states[1])
    if was_set:
        torch.default_generator.set_state(native)
    return not is_same
