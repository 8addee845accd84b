"""What all tests share: the repository's root and the command line as users call it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["shared_run"]
ROOT = Path(__file__).resolve().parents[1]
Run = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--soak` runs the long form of the tests that have one."""
    parser.addoption("--soak", action="store_true", help="run the long form of every test that has one")


@pytest.fixture(scope="session")
def soaks(pytestconfig: pytest.Config) -> bool:
    """Whether tests run in their long form."""
    return bool(pytestconfig.getoption("--soak"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def run_cli() -> Run:
    """Run a Python program or module in a process of its own and return what it said."""

    def run(*arguments: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
