"""Every pinned package is listed with its licence, as its own metadata states it."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

ENVS = Path(__file__).resolve().parents[2] / "envs"
REQUIREMENTS = ("requirements.txt", "requirements-peers.txt", "requirements-test.txt")
PINNED = sorted(
    {
        (match[1], name)
        for name in REQUIREMENTS
        for line in (ENVS / name).read_text().splitlines()
        if (match := re.match(r"([A-Za-z0-9_.-]+)==", line))
    }
)


def licence_of(package: str) -> str:
    """Return what an installed package says of its licence: an SPDX expression, a classifier, or a line of text."""
    metadata = importlib.metadata.metadata(package)
    classifiers = [
        value.split("::")[-1].strip() for value in metadata.get_all("Classifier", []) if value.startswith("License ::")
    ]
    stated = metadata.get("License-Expression") or next(iter(classifiers), None) or metadata.get("License", "unstated")
    return str(stated).splitlines()[0]


def listing() -> str:
    """Return the table as it should stand."""
    rows = [f"| {package} | {licence_of(package)} | `{name}` |" for package, name in PINNED]
    return "\n".join(["| package | licence, as its metadata states it | pinned in |", "|---|---|---|", *rows]) + "\n"


def test_the_listing_is_complete_and_true() -> None:
    """Neither a package too few nor another licence than the installed version has."""
    missing = [package for package, _ in PINNED if not _is_installed(package)]
    if missing:
        pytest.skip(f"{', '.join(missing)} are not installed; the test requirements have them all")
    written = (ENVS / "LICENCES.md").read_text()
    assert written.endswith(listing()), f"envs/LICENCES.md should end with:\n{listing()}"


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
