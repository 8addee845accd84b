"""Copies of a whole folder of results, to damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


@pytest.fixture
def whole(original: Path, tmp_path: Path) -> Path:
    """A copy of everything that one run made, with its ledger."""
    shutil.copytree(original.parent, tmp_path / "run")
    return tmp_path / "run/results"


@pytest.fixture(scope="session")
def edit() -> Edit:
    """Change a JSON file by a function."""

    def change(path: Path, by: Callable[[dict[str, Any]], None]) -> None:
        content = json.loads(path.read_text())
        by(content)
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    return change
