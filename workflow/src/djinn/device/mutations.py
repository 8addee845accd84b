"""Changes to modules and weights on the device: counted, so that unchanged ones are not described again at each call.

A simulation runs a module's forward, so the changes that forward makes would be made twice; they are refused there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from djinn.tracing import SideEffectError


class _Thread(threading.local):
    simulating = False


_thread = _Thread()


class Mutations:
    """How many changes there were."""

    count = 0


def is_simulating() -> bool:
    """Tell whether this thread is inside a simulation, where nested calls are part of the outer one."""
    return _thread.simulating


@contextmanager
def simulating() -> Iterator[None]:
    """Within this scope, this thread is inside a simulation."""
    _thread.simulating = True
    try:
        yield
    finally:
        _thread.simulating = False


def refuse_in_simulation(change: str) -> None:
    """Refuse a change that a simulation must not make.

    Raises:
        SideEffectError: this thread is inside one.
    """
    if is_simulating():
        raise SideEffectError(f"forward {change}")


class WatchedTable(dict[str, Any]):
    """A module's table of parameters, buffers or submodules, whose changes are counted.

    torch offers hooks for what it registers, but containers and `torch.func.functional_call` write to the tables. Copies
    and pickles are plain dictionaries.
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy as a dictionary; raises nothing."""
        return dict, (), None, None, iter(self.items())


def _counting(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def counted(*args: Any, **kwargs: Any) -> Any:
        refuse_in_simulation("changes a module's parameters, buffers or submodules")
        try:
            return method(*args, **kwargs)
        finally:
            Mutations.count += 1

    return counted


for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(WatchedTable, _name, _counting(getattr(dict, _name)))
