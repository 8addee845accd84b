"""Files that are absent, old or complete, whatever happens to those who write them."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ablations.errors import RecordError


def require_writable(path: Path) -> None:
    """Make a result's folder and fail now, not after hours of measuring, if it cannot be written to.

    Raises:
        RecordError: the folder cannot be written to, or something other than a file has the result's name.
    """
    with _explained(path):
        folder = _destination(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def write_text(path: Path, text: str) -> None:
    """Write a text file through a temporary one in the same folder.

    Raises:
        RecordError: the folder cannot be written to, or something other than a file has this name.
    """
    with replacing(path) as temporary, temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix that takes the place of `path` if all goes well.

    It lies in the folder of the file that `path` leads to: a symbolic link stays, and the file behind it is replaced.
    What a writer of the same file left there when it was killed goes first.

    Raises:
        RecordError: the folder cannot be written to, or something other than a file has this name.
    """
    with _explained(path):
        destination = _destination(path)
        destination.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(destination)
        with _held_temporary(destination) as held:
            temporary = Path(held.name)
            try:
                yield temporary
                temporary.chmod(0o644)
                temporary.replace(destination)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise


def _held_temporary(destination: Path) -> tempfile._TemporaryFileWrapper[bytes]:
    """Return a new temporary file, locked until it is closed: the system lets go of it for a writer that is killed."""
    while True:
        held = tempfile.NamedTemporaryFile(  # noqa: SIM115 - the caller closes it
            dir=destination.parent, prefix=_temporary_prefix(destination), suffix=destination.suffix, delete=False
        )
        # A filesystem without locks keeps what a killed writer leaves.
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX)
        # Another writer may have taken it for abandoned in the moment before it was locked.
        if os.path.exists(held.name):
            return held
        held.close()


def _remove_abandoned(destination: Path) -> None:
    """Remove the temporary files of this result that nobody holds."""
    pattern = f"{glob.escape(_temporary_prefix(destination))}*{glob.escape(destination.suffix)}"
    for path in destination.parent.glob(pattern):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _temporary_prefix(destination: Path) -> str:
    return f".{destination.stem}.partial-"


def _destination(path: Path) -> Path:
    """Return the file, there or not, that a path leads to; a device or a pipe would be lost to all who use it."""
    destination = Path(os.path.realpath(path))
    try:
        mode = destination.stat().st_mode
    except FileNotFoundError:
        return destination
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise RecordError(f"Result {path} cannot replace what has its name, which is {kind}; choose another output.")
    return destination


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecordError(
            f"Result {path} cannot be written ({error.strerror}); choose a writable output directory."
        ) from error
