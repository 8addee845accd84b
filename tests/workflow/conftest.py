"""The whole workflow at its smallest, run once in a copy of the repository for all tests of the workflow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import copy_repository

Snakemake = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def checkout(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository without results."""
    folder = tmp_path_factory.mktemp("checkout")
    copy_repository(root, folder)
    return folder


@pytest.fixture(scope="session")
def snakemake(checkout: Path) -> Snakemake:
    """Run Snakemake in the copy, whose packages come first on the path."""

    def run(*arguments: str, config: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "snakemake",
                "--cores",
                "2",
                *arguments,
                "--configfile",
                "tests/tiny.yaml",
                *config.split(),
            ],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout / "workflow/src"), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def finished(checkout: Path, snakemake: Snakemake) -> subprocess.CompletedProcess[str]:
    """The whole workflow at its smallest, once."""
    result = snakemake("all")
    assert result.returncode == 0, result.stderr[-4000:]
    return result
