"""Runs the command line."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys

from ablations.cli import main

_statuses: list[int] = []


def run() -> int:
    """Return the exit status; 141 without a word, as of other tools, if the reader of a pipe (`head`) has had enough."""
    # Most stages end within a second, a sixth of which went into looking for cycles; those that go on enable it again.
    gc.disable()
    # What is registered first is called last.
    atexit.register(_end)
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered has nowhere to go, and the interpreter would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    _statuses.append(status)
    return status


def _end() -> None:
    """End the process, all of whose exit handlers have run: to take torch apart would cost a tenth of a second more."""
    if _statuses:  # an exception is for the interpreter to tell of
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_statuses[0])


if __name__ == "__main__":
    sys.exit(run())
