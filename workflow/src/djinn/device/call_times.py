"""When the stages of a thread's most recent computation passed."""

from __future__ import annotations

import threading
from typing import Any

from djinn.core import CallTimestamps

_thread = threading.local()


def last_call() -> CallTimestamps | None:
    """Return the timestamps of this thread's most recent computation."""
    fields = getattr(_thread, "last_call", None)
    return None if fields is None else CallTimestamps(*fields)


def note_call(*fields: Any) -> None:
    """Remember the timestamps of a computation: the fields of CallTimestamps in order."""
    _thread.last_call = fields
