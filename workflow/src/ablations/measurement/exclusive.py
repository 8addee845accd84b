"""One measuring process a machine, whatever started it."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ablations.errors import MeasurementError

DEFAULT_TIMEOUT_S = 4 * 3600.0
_POLL_S = 0.2


def lock_path() -> Path:
    """Return the lock file of this machine and user."""
    return Path(tempfile.gettempdir()) / f"djinn-ablations-{os.getuid()}.lock"


@contextmanager
def measuring_alone(timeout_s: float = DEFAULT_TIMEOUT_S, path: Path | None = None) -> Iterator[None]:
    """Hold the machine's measuring lock; the system releases it even if the process is killed.

    Raises:
        MeasurementError: another trial held it for longer than `timeout_s`.
    """
    path = lock_path() if path is None else path
    with path.open("a") as file:
        deadline_s = time.monotonic() + timeout_s
        announced = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise MeasurementError(
                        f"Another trial has held {path} for more than {timeout_s:.0f} s; wait for it or end it."
                    ) from None
                if not announced:
                    print("waiting for another trial on this machine to end", file=sys.stderr, flush=True)
                    announced = True
                time.sleep(_POLL_S)
        yield
