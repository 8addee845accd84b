"""Exceptions that handlers of signals raise, as those of timeouts do: meant for the caller, wherever they come up."""

from __future__ import annotations

import signal
import traceback
from types import FunctionType, MethodType


def is_interrupt(error: Exception) -> bool:
    """Tell whether a handler of a signal raised an exception, which must not be taken for the failure of what it interrupted."""
    handlers = (signal.getsignal(number) for number in signal.valid_signals())
    codes = {handler.__code__ for handler in handlers if isinstance(handler, FunctionType | MethodType)}
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))
