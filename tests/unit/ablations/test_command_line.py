"""Tests of `python -m ablations` as a process among others."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ablations.cli import main


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What the command line sets before any stage."""
    gc.disable()
    yield
    gc.enable()


def test_a_reader_that_has_had_enough_ends_it_without_a_word() -> None:
    """`| head` is no failure of ours to report."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "ablations", "schema"]
    finished = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert finished.stderr == ""
    assert finished.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(("stage", "status"), [("schema", 0), ("judge --inputs absent.json --output unjudged.json", 2)])
def test_it_ends_with_its_status_after_every_exit_handler(stage: str, status: int) -> None:
    """Quickly, but nothing that was to happen at the end is left out: not what was registered, not what was printed."""
    program = (
        f"import atexit, sys; sys.argv = ['ablations', *{stage.split()}]; from ablations.__main__ import run; "
        "status = run(); atexit.register(print, 'the handler ran'); sys.exit(status)"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == status
    assert finished.stdout.splitlines()[-1] == "the handler ran"


def test_an_exception_is_told_by_the_interpreter() -> None:
    """With its traceback and status 1: whoever ends the process quickly must not hide it."""
    program = "import ablations.__main__ as m; m.main = lambda: 1 / 0; m.run()"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "ZeroDivisionError" in finished.stderr


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize(
    "stage",
    [
        "trial --study session_arena --variant arenas --trial 0 --settings {} --output unmeasured.json",
        "simulate --benchmark 0",
    ],
)
def test_what_goes_on_for_long_collects_cycles(stage: str) -> None:
    """A trial as a user's process does, which is what it measures; the simulation for its constant memory."""
    assert main(stage.split()) == 2
    assert gc.isenabled()


@pytest.mark.usefixtures("uncollected")
def test_what_ends_soon_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    """Looking for cycles took a sixth of its time."""
    assert main(["schema"]) == 0
    assert capsys.readouterr().out
    assert not gc.isenabled()


def test_what_renders_text_loads_neither_numpy_nor_matplotlib() -> None:
    """Each stage is a process of its own, and loading them would take longer than its work."""
    modules = ("tables", "macros", "document", "appendix", "pages", "simulation_table")
    imports = "; ".join(f"import ablations.rendering.{module}" for module in modules)
    command = [sys.executable, "-c", f"{imports}; import sys; print({{'numpy', 'matplotlib'}} & set(sys.modules))"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "set()"
