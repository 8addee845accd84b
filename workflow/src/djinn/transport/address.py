"""Server addresses: `unix:PATH` and `tcp://HOST:PORT`."""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from dataclasses import dataclass

from djinn.errors import ConfigurationError, ConnectionFailedError

_RETRY_S = 0.01
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address: a socket path, or a host and port."""

    path: str | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse an address.

        Raises:
            ConfigurationError: text of neither form.
        """
        if text.startswith("unix:") and len(text) > len("unix:"):
            return cls(path=text.removeprefix("unix:"))
        host, colon, port = text.removeprefix("tcp://").rpartition(":")
        is_number = port.isascii() and port.isdigit()
        if text.startswith("tcp://") and colon and host and is_number and int(port) < 65_536:
            return cls(host=host.strip("[]"), port=int(port))
        raise ConfigurationError(f"Address {text!r} is not understood; write unix:PATH or tcp://HOST:PORT.")

    def __str__(self) -> str:
        """Return the text that `parse` accepts."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"tcp://[{self.host}]:{self.port}" if self._is_ipv6 else f"tcp://{self.host}:{self.port}"

    @property
    def _is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def is_loopback(self) -> bool:
        """Whether nothing but this host reaches the address."""
        return self.path is not None or self.host in _LOOPBACK_HOSTS

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        """Connect to a listening server.

        Raises:
            ConnectionFailedError: nobody listens there.
        """
        try:
            if self.path is not None:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                _enter_queue(connection, self.path, timeout_s)
                return connection
            connection = socket.create_connection((self.host, self.port), timeout=timeout_s)
            connection.settimeout(None)
            _send_at_once(connection)
            return connection
        except OSError as error:
            raise ConnectionFailedError(
                f"No djinn server answers at {self} ({error.strerror or error}); start one with python -m djinn.server --listen {self}."
            ) from error

    def listen(self) -> socket.socket:
        """Bind and listen; a Unix socket is created with mode 0600, in place of one that a killed server left.

        Raises:
            ConnectionFailedError: the address cannot be bound.
        """
        try:
            if self.path is not None:
                listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                _bind_private(listener, self.path)
            else:
                family = socket.AF_INET6 if self._is_ipv6 else socket.AF_INET
                listener = socket.create_server((self.host, self.port), family=family)
                _send_at_once(listener)  # connections inherit that from the socket that accepts them
            listener.listen(128)
            return listener
        except OSError as error:
            raise ConnectionFailedError(
                f"The server cannot listen at {self} ({error.strerror or error}); choose another address."
            ) from error


def _enter_queue(connection: socket.socket, path: str, timeout_s: float) -> None:
    """Connect as soon as there is room in the queue of who listens, which stays full where that is stopped."""
    deadline_s = time.monotonic() + timeout_s
    connection.setblocking(False)
    while True:
        try:
            connection.connect(path)
            break
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_RETRY_S)
    connection.setblocking(True)


def _send_at_once(connection: socket.socket) -> None:
    """Keep the system from holding a payload back until the peer has acknowledged its message, which takes 40 ms."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _bind_private(listener: socket.socket, path: str) -> None:
    previous = os.umask(0o177)
    try:
        try:
            listener.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_abandoned(path):
                raise
            os.unlink(path)
            listener.bind(path)
    finally:
        os.umask(previous)


def _is_abandoned(path: str) -> bool:
    """Tell whether a file is a socket at which nobody listens."""
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED
