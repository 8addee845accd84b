"""Djinn: a tensor operating system for PyTorch.

Names are loaded when they are first used, so that a program which only needs the memory unit or the configuration
does not load the device, and so that the study can tell which sources each of its parts depends on.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Public name -> submodule that defines it.
_LAZY: dict[str, str] = {
    "CallTimestamps": "djinn.core",
    "Config": "djinn.config",
    "ConfigurationError": "djinn.errors",
    "ConnectionFailedError": "djinn.errors",
    "DeviceMismatchError": "djinn.errors",
    "DjinnError": "djinn.errors",
    "OutOfMemoryError": "djinn.errors",
    "PlanError": "djinn.errors",
    "Policy": "djinn.scheduling.policies",
    "ProtocolError": "djinn.errors",
    "Residency": "djinn.scheduling.residency",
    "ServerDiedError": "djinn.errors",
    "Session": "djinn.client.session",
    "SessionClosedError": "djinn.errors",
    "SessionStateError": "djinn.errors",
    "State": "djinn.scheduling.states",
    "UnknownPlanError": "djinn.errors",
    "UnsupportedOperatorError": "djinn.errors",
    "VirtualMemoryUnit": "djinn.memory.vmu",
    "audit": "djinn.api",
    "init": "djinn.api",
    "last_call": "djinn.device.call_times",
    "launch": "djinn.client.process",
    "make_policy": "djinn.scheduling.policies",
    "ping": "djinn.api",
    "plan_cache": "djinn.device.modules",
    "session": "djinn.api",
    "shutdown": "djinn.api",
    "signal_phase": "djinn.client.session",
    "stats": "djinn.api",
}

__all__ = sorted(_LAZY)  # noqa: PLE0605 - one table states the names


def __getattr__(name: str) -> Any:
    """Load a public name."""
    if name not in _LAZY:
        raise AttributeError(f"module 'djinn' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
