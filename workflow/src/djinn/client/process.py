"""The embedded server: a child process that ends with its parent, and may start before it is needed."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from djinn.config import Config
from djinn.errors import ServerDiedError

_READY_PREFIX = "djinn server ready at "
_NUM_LAST_LINES = 5
# A socket's path has 107 bytes at most.
_MAX_FOLDER_BYTES = 107 - len("/djinn-12345678/socket")
_SHORT_FOLDER = "/tmp"


def _short_folder() -> str | None:
    """Return where temporary folders are made whose sockets can have a name: that of any other file may be longer."""
    return None if len(os.fsencode(tempfile.gettempdir())) <= _MAX_FOLDER_BYTES else _SHORT_FOLDER


class ServerProcess:
    """A server of one's own on a private Unix socket."""

    def __init__(self) -> None:
        """Start the process, which imports what it needs and then waits for its settings."""
        self._directory = Path(tempfile.mkdtemp(prefix="djinn-", dir=_short_folder()))
        self._log_path = self._directory / "server.log"
        self.address = f"unix:{self._directory / 'socket'}"
        command = [
            sys.executable,
            "-m",
            "djinn.server",
            "--listen",
            self.address,
            "--config",
            "-",
            "--exit-with-stdin",
            "--private-folder",
            str(self._directory),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def configure(self, config: Config) -> None:
        """Hand over the settings and wait until the server listens.

        Raises:
            ServerDiedError: it ended instead, with its last words.
        """
        assert self._process.stdin is not None, "the server's standard input is a pipe"
        assert self._process.stdout is not None, "the server's standard output is a pipe"
        with suppress(BrokenPipeError):  # whoever ended says nothing on the other pipe either
            self._process.stdin.write(config.to_json().encode() + b"\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline().decode()
        if not line.startswith(_READY_PREFIX):
            self._process.wait()
            error = ServerDiedError(f"The embedded server did not start: {self.last_words()}")
            self._remove_directory()
            raise error

    @property
    def pid(self) -> int:
        """Process number of the server."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Tell whether the process still runs, giving one that is just ending a moment to do so."""
        try:
            self._process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            return True
        return False

    def last_words(self) -> str:
        """Return the end of what the server wrote to standard error, and how it ended."""
        lines: list[str] = []
        with suppress(FileNotFoundError):  # who was terminated has tidied up
            lines = self._log_path.read_text(errors="replace").splitlines()[-_NUM_LAST_LINES:]
        ending = self._process.poll()
        return " | ".join(lines) or f"no message; exit status {ending}"

    def stop(self) -> None:
        """End the process and remove its directory."""
        assert self._process.stdin is not None, "the server's standard input is a pipe"
        assert self._process.stdout is not None, "the server's standard output is a pipe"
        with suppress(BrokenPipeError):  # settings that a server which had ended never read
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._remove_directory()

    def leave_to_parent(self) -> None:
        """Let go of the server in a forked process: it shall end with the process that started it."""
        assert self._process.stdin is not None, "the server's standard input is a pipe"
        assert self._process.stdout is not None, "the server's standard output is a pipe"
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.returncode = 0  # a child of the parent, for which nobody waits here

    def _remove_directory(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)


_launched: ServerProcess | None = None


def launch() -> None:
    """Start the next embedded server's process now, before `init` asks for it; calling it twice is harmless.

    It imports as long as its client does, and on a second core it can do so at the same time. Settings come with `init`.
    """
    global _launched
    if _launched is None:
        _launched = ServerProcess()
        atexit.register(_end_launched)


def start_server(config: Config) -> ServerProcess:
    """Return a server with these settings that listens: the one that was launched, or a new one.

    Raises:
        ServerDiedError: it did not start, with its last words.
    """
    global _launched
    process, _launched = _launched or ServerProcess(), None
    process.configure(config)
    return process


def _leave_launched() -> None:
    global _launched
    process, _launched = _launched, None
    if process is not None:
        process.leave_to_parent()


os.register_at_fork(after_in_child=_leave_launched)


def _end_launched() -> None:
    """End a server that nobody asked for."""
    global _launched
    process, _launched = _launched, None
    if process is not None:
        process.stop()
