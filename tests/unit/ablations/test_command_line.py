"""Tests of `python -m ablations` as a process among others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def test_a_reader_that_has_had_enough_ends_it_without_a_word() -> None:
    """`| head` is no failure of ours to report."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "ablations", "schema"]
    finished = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert finished.stderr == ""
    assert finished.returncode == 128 + signal.SIGPIPE
