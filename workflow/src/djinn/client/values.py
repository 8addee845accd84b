"""Checks what callers pass to the public functions: a server takes a message of other types for a broken one, and hangs up."""

from __future__ import annotations

import reprlib
from numbers import Real
from typing import Any


def require_name(value: Any, argument: str) -> str:
    """Return a session's name.

    Raises:
        TypeError: it is no string.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument} is {reprlib.repr(value)}; pass a session's name, which is a string.")
    return str.__str__(value)  # of a member of an enumeration, too


def require_number(value: Any, argument: str, unit: str) -> float:
    """Return a real number, of Python or NumPy.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{argument} is {reprlib.repr(value)}; pass a number of {unit}.")
    return float(value)
