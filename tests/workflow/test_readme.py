"""What the pages for people tell them to run exists, and what they link to is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PAGES = ("README.md", "config/README.md", "config/ADDING.md", "workflow/src/djinn/README.md", "results/README.md")
ROOT = Path(__file__).resolve().parents[2]


def _commands(page: str) -> list[str]:
    """Return the lines of the page's blocks that have no language, or a shell's, without comments."""
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0].partition(" # ")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("\\")]


WORKFLOW = sorted(
    {line for page in ("README.md", "config/README.md") for line in _commands(page) if "--cores 1" in line}
)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """Within the repository."""
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
        assert target.startswith("http") or ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("command", WORKFLOW)
def test_the_workflow_knows_what_it_is_asked_for(command: str, root: Path) -> None:
    """Every target that the pages name can be planned."""
    arguments = shlex.split(command)
    assert arguments[0] == "snakemake"
    planned = subprocess.run(
        [sys.executable, "-m", *arguments, "-n", "--quiet"], cwd=root, capture_output=True, text=True, check=False
    )
    assert planned.returncode == 0, planned.stdout + planned.stderr


def test_make_has_every_target(root: Path) -> None:
    """That the pages name."""
    named = {line.split()[1] for page in PAGES for line in _commands(page) if line.startswith("make ")}
    text = (root / "README.md").read_text()
    named |= set(re.findall(r"`make ([a-z]+)`", text))
    rules = set(re.findall(r"^([a-z./]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert {"smoke", "reproduce", "report", "test", "lint"} <= named <= rules


@pytest.mark.parametrize(
    "command", sorted({line for line in _commands("README.md") if line.startswith("python workflow/scripts/")})
)
def test_scripts_take_the_flags_that_are_named(command: str, run_cli: Callable[..., Any]) -> None:
    """Each flag stands in the script's own help."""
    _, script, *arguments = shlex.split(command)
    told = run_cli(script, "--help").stdout
    assert all(flag in told for flag in arguments if flag.startswith("--"))


@pytest.mark.parametrize(
    "stage", sorted(set(re.findall(r"python -m ablations ([a-z]+)", (ROOT / "README.md").read_text())))
)
def test_the_command_line_has_every_stage(stage: str, run_cli: Callable[..., Any]) -> None:
    """That the README names."""
    assert run_cli("-m", "ablations", stage, "--help").returncode == 0
