"""A workflow that runs in a copy of the repository while a test does something to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_PATIENCE_S = 300.0


class Run:
    """One call of Snakemake with the tiny tier, in the background."""

    def __init__(self, checkout: Path, *arguments: str, trials: str = "{}", before: Sequence[str] = ()) -> None:
        """Start it.

        Args:
            checkout: where.
            arguments: targets and flags.
            trials: YAML of how many of which study, over the tiny tier's.
            before: what stands before the command, such as `unshare` with its flags.
        """
        more = checkout / "more.yaml"
        more.write_text(f"trials: {trials}\n")
        self._log = checkout.parent / f"run_{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*before, *command, "--configfile", "tests/tiny.yaml", str(more)],
                cwd=checkout,
                env={**os.environ, "PYTHONPATH": str(checkout / "workflow/src"), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )

    def await_said(self, text: str, count: int = 1) -> None:
        """Wait until it has said something so many times."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while self.said().count(text) < count:
            assert self._process.poll() is None, f"ended without saying {text!r}: {self.said()[-3000:]}"
            assert time.monotonic() < deadline_s, f"has not said {text!r}: {self.said()[-3000:]}"
            time.sleep(0.02)

    def said(self) -> str:
        """Return what it has said so far, on either stream."""
        return self._log.read_text()

    def end(self) -> tuple[int, str]:
        """Wait for its end, and return its status and all that it said."""
        return self._process.wait(_PATIENCE_S), self.said()
