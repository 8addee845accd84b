"""Runs the command line."""

from __future__ import annotations

import gc
import os
import signal
import sys

from ablations.cli import main


def run() -> int:
    """Return the exit status; 141 without a word, as of other tools, if the reader of a pipe (`head`) has had enough."""
    # Most stages end within a second, a sixth of which went into looking for cycles; those that go on enable it again.
    gc.disable()
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered has nowhere to go, and the interpreter would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    finally:
        # Nor does the interpreter look at its end through what ends with it.
        gc.freeze()
    return status


if __name__ == "__main__":
    sys.exit(run())
