"""Runs the command line."""

from __future__ import annotations

import os
import signal
import sys

from ablations.cli import main


def run() -> int:
    """Return the exit status; 141 without a word, as of other tools, if the reader of a pipe (`head`) has had enough."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered has nowhere to go, and the interpreter would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return status


if __name__ == "__main__":
    sys.exit(run())
