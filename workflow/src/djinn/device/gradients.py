"""Runs autograd's engine for this device: on the calling thread, with exceptions that survive torch's device guard.

torch keeps one thread for each device, which has no session of its caller and a connection of its own; here a backward
pass runs on the thread that asks for it, as on the CPU.

While an exception of a hook leaves the engine, torch asks the device's guard for its type, from a function that may not
fail; but calling Python while an exception is pending fails, which ends the process. So the guard puts the pending
exception away, and the engine raises it again once torch has unwound.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import torch
from torch._C import _ImperativeEngine
from torch.autograd.variable import Variable

_thread = threading.local()
# Any function of Python's own library: ctypes raises after the call what was pending before it.
_raise_pending = ctypes.pythonapi.Py_IsInitialized


class DeviceGuard(torch._C._acc.DeviceGuard):
    """What torch's C++ side asks of a device; it counts one of this type, with one stream."""

    def type_(self) -> Any:
        """Return the device's type; torch also calls this while an exception is pending."""
        try:
            _raise_pending()
        except BaseException as error:
            _thread.error = error
        return torch._C._autograd.DeviceType.PrivateUse1


class _Engine(_ImperativeEngine):
    def run_backward(self, *args: Any, **kwargs: Any) -> Any:
        try:
            with torch.autograd.set_multithreading_enabled(False):
                return super().run_backward(*args, **kwargs)
        except SystemError:  # torch found no exception where it expected one, or there was none to put away
            error, _thread.error = getattr(_thread, "error", None), None
            if error is None:
                raise
        raise error


def install() -> None:
    """Make this the engine of every backward pass of the process."""
    Variable._execution_engine = _Engine()
