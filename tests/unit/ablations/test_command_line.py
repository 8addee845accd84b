"""Tests of `python -m ablations` as a process among others."""

from __future__ import annotations

import argparse
import errno
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablations import campaign
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


@pytest.mark.parametrize("number", ["0", "-1"])
def test_no_fewer_than_one_trial_is_expected(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Any number of trials would be enough."""
    assert main(f"aggregate --study os_tax --expected-trials {number} --output x.json absent.json".split()) == 2
    said = capsys.readouterr().err
    assert (
        said == f"error: --expected-trials is {number}, but a variant has at least one trial; pass how many each has.\n"
    )


@pytest.mark.parametrize("stage", ["status", "verify", "explain os_tax"])
def test_what_the_system_refuses_is_one_sentence(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the path; here a name that no file system takes."""
    name = "x" * 300
    assert main([*stage.split(), "--results-dir", name]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: The system refuses ")
    assert said.count("\n") == 1
    assert name in said
    assert said.endswith("(File name too long); check the path, its permissions and the space that is left.\n")


def test_what_the_system_refuses_a_script_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Scripts measure for hours on disks that may be taken away."""

    def lose_the_disk(*_: object) -> list[Path]:
        raise OSError(errno.EIO, "Input/output error", "trial_0.json")

    monkeypatch.setattr(campaign, "run_study", lose_the_disk)
    assert campaign.main(["os_tax"], argparse.Namespace(config=[], output_dir=tmp_path)) == 2
    assert capsys.readouterr().err.startswith("error: The system refuses trial_0.json (Input/output error); check ")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no device that is always full")
def test_output_that_nobody_can_take_is_one_sentence() -> None:
    """What stages print goes to files too, whose disk may be full."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ablations", "schema"]
        finished = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith(
        "error: The system refuses a file or standard output (No space left on device); check "
    )
    assert finished.stderr.count("\n") == 1


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
