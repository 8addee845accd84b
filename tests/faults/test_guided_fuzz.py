"""Inputs that fuzzing by coverage found are tried again in the short form; the long form goes on fuzzing from them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz_seeds import seeds
from fuzz_targets import TARGETS, stop

CORPUS = Path(__file__).parent / "corpus"
# Of a few minutes together; the handler computes.
NUM_RUNS = {"decode": 2_000_000, "handle": 150_000, "plan": 2_000_000}


@pytest.fixture(autouse=True, scope="module")
def _ended() -> Iterator[None]:
    yield
    stop()


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_before_does_no_harm(target: str) -> None:
    """Every kept input, in one process, and what fuzzing begins with."""
    kept = sorted((CORPUS / target).iterdir())
    assert kept
    for content in [*seeds(target), *(path.read_bytes() for path in kept)]:
        TARGETS[target](content)


@pytest.mark.parametrize("target", TARGETS)
def test_fuzzing_by_coverage_finds_nothing(target: str, soaks: bool, tmp_path: Path) -> None:
    """From the kept inputs on; an input that is found is told with the exception."""
    if not soaks:
        pytest.skip("in the long form only")
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed; `make soak` installs it where it is built for this Python")
    found = tmp_path / "found"
    found.mkdir()
    for number, seed in enumerate(seeds(target)):
        (found / f"seed_{number}.bin").write_bytes(seed)
    arguments = [target, str(NUM_RUNS[target]), str(found), str(CORPUS / target)]
    fuzzed = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "guided_fuzz.py"), *arguments],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert fuzzed.returncode == 0, fuzzed.stdout[-2000:] + fuzzed.stderr[-3000:]
    assert f"Done {NUM_RUNS[target]} runs" in fuzzed.stderr
