"""A runtime that computes wrong, caches wrong, swaps wrong or cannot swap, and a study that hides an import: each fails its trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Run

_HIDDEN_IMPORT = '__import__("importlib").import_module("ablations." + "models")\n'
_WRONG_RESULT = """
def readable_bytes(tensor):
    return memoryview(bytes(tensor.nbytes))
"""
_CACHE_THAT_IS_NEVER_CLEARED = "PlanCache.clear = lambda self: None\n"
_WRONG_COPY = """
def _copy_in(self, destination, source):
    copy_us = _copy(destination, source)
    destination[:1] ^= 1
    return copy_us


HostPool.copy_in = _copy_in
"""
_COPY_THAT_FAILS = """
def _copy_in(self, destination, source):
    raise MemoryError("no page is left")


HostPool.copy_in = _copy_in
"""


@pytest.mark.parametrize(
    ("file", "defect", "study", "variant", "message"),
    [
        ("ablations/studies/session_arena.py", _HIDDEN_IMPORT, "session_arena", "arenas", "loaded ablations.models, "),
        ("djinn/server/results.py", _WRONG_RESULT, "os_tax", "micro_add", "differs from native PyTorch by "),
        ("djinn/planning/cache.py", _CACHE_THAT_IS_NEVER_CLEARED, "os_tax", "layer_one_token", "hit the plan cache"),
        ("djinn/memory/host_pool.py", _WRONG_COPY, "semantic_signals", "reactive", "changed while it waited"),
        ("djinn/memory/host_pool.py", _COPY_THAT_FAILS, "semantic_signals", "reactive", "MemoryError: no page is left"),
    ],
    ids=["hidden import", "wrong result", "warm instead of cold", "wrong copy", "copy that fails"],
)
def test_a_defect_fails_the_trial_that_meets_it(
    own_checkout: Path, run_cli: Run, file: str, defect: str, study: str, variant: str, message: str
) -> None:
    """In a sentence that names it, and without a record."""
    with (own_checkout / "workflow/src" / file).open("a") as source:
        source.write(defect)
    record = own_checkout / "trial_0.json"
    command = ("trial", "--study", study, "--variant", variant, "--trial", 0, "--config", "tests/tiny.yaml")
    finished = run_cli(
        *("-m", "ablations", *command, "--output", record),
        cwd=own_checkout,
        PYTHONPATH=str(own_checkout / "workflow/src"),
    )
    assert finished.returncode == 2, finished.stderr
    assert message in finished.stderr.splitlines()[-1]
    assert "Traceback" not in finished.stderr
    assert not record.exists()
