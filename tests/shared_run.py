"""One run of the whole workflow at its smallest, in a copy of the repository, for every test that needs what it makes.

A plugin, because tests of all folders share it: its trials are those of the tests of analysis and rendering, its results
those of the tests of the workflow, and the tests of kills begin with a copy of it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import copy_repository, environment_of

Snakemake = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def checkout(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, without results until `measured` and `finished` make them."""
    folder = tmp_path_factory.mktemp("checkout")
    copy_repository(root, folder)
    return folder


@pytest.fixture
def own_checkout(root: Path, tmp_path: Path) -> Path:
    """A copy of the repository without results, which one test alone may harm."""
    folder = tmp_path / "checkout"
    copy_repository(root, folder)
    return folder


@pytest.fixture(scope="session")
def snakemake(checkout: Path) -> Snakemake:
    """Run Snakemake in the copy, whose packages come first on the path."""

    def run(*arguments: str, config: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        return subprocess.run(
            [*command, "--configfile", "tests/tiny.yaml", *config.split()],
            cwd=checkout,
            env=environment_of(checkout),
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def measured(snakemake: Snakemake) -> subprocess.CompletedProcess[str]:
    """Every trial, each aggregated as soon as its study is complete: what Snakemake said of it."""
    result = snakemake("aggregate_all", "--verbose")
    assert result.returncode == 0, result.stderr[-4000:]
    return result


@pytest.fixture(scope="session")
def finished(measured: subprocess.CompletedProcess[str], snakemake: Snakemake) -> subprocess.CompletedProcess[str]:
    """The rest of the workflow, after its trials: what Snakemake said of that."""
    result = snakemake("all")
    assert result.returncode == 0, result.stderr[-4000:]
    return result
