"""What a long trial has measured so far, on disk after each step, so that a killed trial goes on where it was.

A file of JSON lines beside the record; each line names what it belongs to, and lines of other settings, sources or
machines are not used. A line that was cut off by the end of its writer is ignored. The last step is the record itself:
whoever started the trial removes the file once it knows that the record is there, so that no kill in between costs it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablations.errors import RecordError


def journal_path(record: Path) -> Path:
    """Return where the journal of a record lies."""
    return record.with_suffix(".journal.jsonl")


class Journal:
    """Steps of one trial in order."""

    def __init__(self, path: Path | None, key: str) -> None:
        """Read what is there.

        Args:
            path: the file; None keeps nothing.
            key: of everything that the steps depend on.
        """
        self._path = path
        self._key = key
        self._known: list[tuple[str, Any]] = []
        # Whether the file holds the known steps and nothing else; it is made so before anything is added.
        self._is_exact = True
        self._position = 0
        self._read()

    @property
    def num_known(self) -> int:
        """Steps that an earlier process finished."""
        return len(self._known)

    def step(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return the next step's result: the known one if it has this name, else what `measure` returns.

        Results are plain JSON data. Where the known steps take another course, they are not used any further.

        Raises:
            RecordError: the file cannot be written to.
        """
        if self._position < len(self._known):
            known_name, result = self._known[self._position]
            if known_name == name:
                self._position += 1
                return result
            del self._known[self._position :]
            self._is_exact = False
        result = json.loads(json.dumps(measure()))
        self._known.append((name, result))
        self._position += 1
        self._append(name, result)
        return result

    def last(self, name: str) -> Any:
        """Return the result of the last known step if it has this name, else None."""
        return self._known[-1][1] if self._known and self._known[-1][0] == name else None

    def _read(self) -> None:
        if self._path is None or not self._path.exists():
            return
        for line in self._path.read_text(errors="replace").splitlines(keepends=True):
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if entry is None or not line.endswith("\n") or entry["key"] != self._key:
                self._is_exact = False
                return
            self._known.append((entry["step"], entry["result"]))

    def _append(self, name: str, result: Any) -> None:
        if self._path is None:
            return
        added = [(name, result)] if self._is_exact else self._known
        lines = [json.dumps({"key": self._key, "step": step, "result": outcome}) + "\n" for step, outcome in added]
        num_kept_bytes = self._path.stat().st_size if self._is_exact and self._path.exists() else 0
        try:
            with self._path.open("a" if self._is_exact else "w") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._cut_back(num_kept_bytes)
            raise RecordError(
                f"Journal {self._path} cannot be written ({error.strerror}); choose a writable output directory."
            ) from error
        self._is_exact = True

    def _cut_back(self, num_bytes: int) -> None:
        """Leave nothing half-written; a file that held nothing before goes."""
        assert self._path is not None, "there is no file to cut back"
        with contextlib.suppress(OSError):
            if num_bytes:
                os.truncate(self._path, num_bytes)
            else:
                self._path.unlink(missing_ok=True)
