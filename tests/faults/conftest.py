"""Faults are caused for real: in a copy of the repository, with a temporary folder that shows what is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import copy_repository


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A copy of the repository without results."""
    folder = tmp_path / "checkout"
    copy_repository(root, folder)
    return folder
