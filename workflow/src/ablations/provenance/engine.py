"""What Snakemake left in the repository: whether it runs now, and what a killed run stands in the way with."""

from __future__ import annotations

import base64
import binascii
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Engine:
    """The workflow engine's state.

    Attributes:
        running: the process that runs in this repository, if any.
        age_s: how long it has been running.
        is_locked: whether there is a lock, of a run or left by one.
        incomplete: files that were being made when a run was killed, if they exist; Snakemake refuses to go on beside
            them without --rerun-incomplete.
    """

    running: int | None
    age_s: float
    is_locked: bool
    incomplete: tuple[str, ...]


def workflow_engine(root: Path) -> Engine:
    """Examine a repository's folder."""
    process = _running_in(root)
    locks = root / ".snakemake/locks"
    return Engine(
        running=None if process is None else process.pid,
        age_s=0.0 if process is None else max(0.0, time.time() - process.create_time()),
        is_locked=locks.is_dir() and any(locks.iterdir()),
        incomplete=tuple(name for name in marked_incomplete(root) if (root / name).exists()),
    )


def _running_in(root: Path) -> psutil.Process | None:
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if process.info["cwd"] == str(root) and any(Path(word).name == "snakemake" for word in words[:3]):
            return process
    return None


def marked_incomplete(root: Path) -> list[str]:
    """Return the files that Snakemake marked as begun and has not noted as made; a marker's name is the file's in base 64."""
    folder = root / ".snakemake/incomplete"
    found = []
    # Long names are spread over several folders, whose names continue each other.
    for marker in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if marker.is_file():
            encoded = "".join(part.removeprefix("@") for part in marker.relative_to(folder).parts)
            try:
                found.append(base64.urlsafe_b64decode(encoded).decode())
            except (binascii.Error, UnicodeDecodeError):
                found.append(encoded)
    return found
