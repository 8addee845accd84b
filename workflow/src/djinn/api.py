"""The public functions: start and stop the runtime, ask for its counters."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any

import torch

from djinn.client import runtime
from djinn.client.session import Session
from djinn.client.values import require_number
from djinn.config import Config
from djinn.device import attachment, backend, modules
from djinn.device.modules import plan_cache
from djinn.protocol import messages as m
from djinn.tracing import warm_up
from djinn.units import MiB

_installed = False


def init(address: str | None = None, *, config: Config | None = None) -> None:
    """Start the runtime: an embedded server process, or a connection to one that listens.

    Afterwards `remote_accelerator:0` is a torch device. Everything that a first simulation would import is imported
    here, so that later measurements do not contain it.

    Args:
        address: None starts an embedded server; `unix:PATH` and `tcp://HOST:PORT` connect.
        config: settings; None reads the GENIE_* variables.

    Raises:
        TypeError: an address that is no string, or settings that are no Config.
        DjinnError: the runtime is initialised already.
        ConfigurationError: an unusable setting or address.
        ConnectionFailedError: nobody listens at the address.
        ServerDiedError: the embedded server did not start, with its last words.
    """
    global _installed
    if address is not None and not isinstance(address, str):
        raise TypeError(f"address is {address!r}; pass unix:PATH or tcp://HOST:PORT, or None for an embedded server.")
    if config is not None and not isinstance(config, Config):
        raise TypeError(f"config is {config!r}; pass a djinn.Config.")
    config = Config.from_environment() if config is None else config
    with _warming_up(config.device_type):
        client = runtime.start(address, config)
    if not _installed:
        backend.register()
        attachment.install()
        atexit.register(shutdown)
        _installed = True
    plan_cache.configure(config.plan_cache_entries, config.plan_cache_mb * MiB, enabled=config.plan_cache_enabled)
    client.request(m.Seed(seed=torch.initial_seed() & (2**63 - 1)))


@contextmanager
def _warming_up(device_type: str) -> Iterator[None]:
    """Import and exercise what simulations need while the server starts: seconds of work that need not wait for it."""
    thread = threading.Thread(target=warm_up, args=(device_type,), name="djinn-warm-up")
    thread.start()
    try:
        yield
    finally:
        thread.join()


def shutdown() -> None:
    """Stop the runtime and its embedded server; calling it twice is harmless."""
    plan_cache.clear()
    runtime.stop()


def session(session_id: str | None = None, arena_mb: int | None = None) -> Session:
    """Open a session: `with djinn.session() as session:` makes its arena the home of new tensors in this
    thread or task.

    Args:
        session_id: a name that is not in use; None makes one up.
        arena_mb: size of the arena in MiB; None takes GENIE_VMU_SESSION_ARENA_MB (64).

    Raises:
        TypeError: a name that is no string, or a size that is no number.
        ValueError: the name is in use, or the size is not positive.
        OutOfMemoryError: the arena cannot be admitted.
    """
    return Session(session_id, arena_mb)


def audit() -> None:
    """Let the server check the invariants of its memory: no overlap, no leak, every count right.

    Raises:
        DjinnError: one is violated; the message names it.
        ConnectionFailedError: the runtime is not initialised, or the server is gone.
    """
    runtime.current_client().request(m.Audit())


def ping(busy_us: float = 0.0) -> float:
    """Ask the server for nothing and return the microseconds that the asking took.

    What remains after `busy_us` is the floor of every remote call of that length: one message there and one back,
    between processes that had nothing else to do meanwhile.

    Args:
        busy_us: how long the server keeps its core busy before it answers, 0 to 1,000,000.

    Raises:
        TypeError: a time that is no number.
        ValueError: a time outside that range.
        ConnectionFailedError: the runtime is not initialised, or the server is gone.
    """
    busy_us = require_number(busy_us, "busy_us", "microseconds")
    client = runtime.current_client()
    start_ns = perf_counter_ns()
    client.request(m.Ping(busy_us=busy_us), expected_us=busy_us)
    return (perf_counter_ns() - start_ns) / 1e3


def stats() -> dict[str, Any]:
    """Return the counters of this process and of the server; sizes in bytes, times in microseconds."""
    reply, _ = runtime.current_client().request(m.Stats())
    return {
        **reply.values,
        "plan_cache": plan_cache.counters(),
        "plans": [
            {
                "module": plan.module_name,
                "num_operations": plan.num_operations,
                "peak_bytes": plan.peak_bytes,
                "lower_bound_bytes": plan.lower_bound_bytes,
            }
            for plan in plan_cache.entries()
        ],
        "fallbacks": dict(modules.fallbacks),
    }
