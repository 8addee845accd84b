"""Errors that the server reports, as the exceptions that a local call would have raised."""

from __future__ import annotations

import inspect

import torch

from djinn import errors
from djinn.protocol.messages import Failed

_OWN: dict[str, type[Exception]] = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, errors.DjinnError)
}
_CLASSES: dict[str, type[Exception]] = _OWN | {
    error.__name__: error
    for error in (
        RuntimeError,
        IndexError,
        ValueError,
        TypeError,
        NotImplementedError,
        OverflowError,
        ZeroDivisionError,
        torch.linalg.LinAlgError,  # type: ignore[attr-defined]
    )
}


def to_exception(failed: Failed) -> Exception:
    """Return the exception for a failure; classes that are not known here become RuntimeError, as torch's own do."""
    return _CLASSES.get(failed.error, RuntimeError)(failed.message)
