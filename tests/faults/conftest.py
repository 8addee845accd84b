"""Faults are caused for real: in a copy of the repository, with a temporary folder that shows what is left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

PARTS = ("Snakefile", "workflow", "config", "envs", "tests/tiny.yaml")


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A copy of the repository without results."""
    folder = tmp_path / "checkout"
    for part in PARTS:
        source, target = root / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache"))
        else:
            shutil.copy(source, target)
    return folder
