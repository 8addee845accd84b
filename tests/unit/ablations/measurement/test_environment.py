"""A record's environment: what was loaded, the checkout's state, and the accelerator as its own tool sees it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy
import pytest
import torch

from ablations.measurement import environment, machine
from ablations.measurement.environment import capture_environment, capture_gpu

_TOOL = """#!/bin/sh
[ "$*" = "--query-gpu=name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.draw,temperature.gpu \
--format=csv,noheader,nounits --id=0" ] || exit 1
echo "NVIDIA H100, 550.54, 1980, 2619, 1980, 112.5{rest}"
"""


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=one", "-c", "user.email=one@example.org")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    _git(folder, "init", "--quiet")
    (folder / "file").write_text("committed\n")
    _git(folder, "add", "file")
    _git(folder, "commit", "--quiet", "-m", "first")
    monkeypatch.setattr(environment, "repository_root", lambda: folder)
    return folder


def test_the_versions_are_those_that_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is installed by now."""
    monkeypatch.setattr(machine, "installed_version", lambda package: "installed later")
    captured = capture_environment(num_threads=3)
    assert (captured["torch"], captured["numpy"]) == (str(torch.__version__), numpy.__version__)
    assert captured["num_threads"] == 3
    assert captured["accelerator"] == (torch.cuda.get_device_name() if torch.cuda.is_available() else None)


def test_the_revision_is_told_and_whether_it_is_what_ran(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An edit makes the tree unclean; asking git says nothing on the terminal."""
    captured = capture_environment(num_threads=1)
    assert (captured["git_revision"], captured["git_clean"]) == (_git(checkout, "rev-parse", "HEAD"), True)
    (checkout / "file").write_text("edited\n")
    assert capture_environment(num_threads=1)["git_clean"] is False
    assert capfd.readouterr() == ("", "")


def test_no_secret_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the one that servers of other hosts want, nor where it lies."""
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text("0123456789abcdef" * 4)
    monkeypatch.setenv("GENIE_SECRET_FILE", str(path))
    recorded = str(capture_environment(num_threads=1))
    assert path.read_text() not in recorded
    assert str(path) not in recorded


def test_a_tree_without_git_has_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an archive of the release has none."""
    monkeypatch.setattr(environment, "repository_root", lambda: tmp_path)
    captured = capture_environment(num_threads=1)
    assert (captured["git_revision"], captured["git_clean"]) == (None, None)


@pytest.fixture
def accelerator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has one, and a tool that says what it is asked for."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tool


@pytest.mark.parametrize(("rest", "temperature"), [(", 35", "35"), ("", None)], ids=["whole", "cut off"])
def test_an_accelerator_is_described_by_its_tool(accelerator: Path, rest: str, temperature: str | None) -> None:
    """What an older tool leaves out is not there."""
    accelerator.write_text(_TOOL.replace("{rest}", rest))
    accelerator.chmod(0o755)
    described = capture_gpu()
    assert described is not None
    assert described.get("temperature_c") == temperature
    assert {name: described[name] for name in ("name", "driver", "sm_clock_mhz", "power_w")} == {
        "name": "NVIDIA H100",
        "driver": "550.54",
        "sm_clock_mhz": "1980",
        "power_w": "112.5",
    }


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", None], ids=["fails", "is missing"])
def test_without_the_tool_nothing_is_said(
    accelerator: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    """A measurement does not end for that."""
    if script is None:
        monkeypatch.setenv("PATH", str(accelerator.parent / "nowhere"))
    else:
        accelerator.write_text(script)
        accelerator.chmod(0o755)
    assert capture_gpu() is None


def test_without_an_accelerator_the_tool_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it would say."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert capture_gpu() is None
