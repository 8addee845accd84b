"""A process's client of one server: a connection for each thread, tensor identifiers, and deferred frees."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections import deque
from typing import Any

from djinn.client.connection import Connection
from djinn.client.process import start_server
from djinn.config import Config
from djinn.errors import ConnectionFailedError, ProtocolError, ServerDiedError
from djinn.protocol import messages as m
from djinn.protocol.messages import MAX_OUTPUTS
from djinn.transport.address import Address
from djinn.transport.reply_buffers import ReplyBuffer

_MAX_FREES = 4096
# Blocks of identifiers: those of a forked process begin behind all of its parent's, at a place that its number decides.
_FIRST_FORKED_BLOCK = 1 << 46
_BLOCKS_EACH = 1 << 24
_SHUT_DOWN = "The runtime was shut down; call djinn.init() again."


class _ThreadEnd:
    """Goes with the thread that holds it."""


class Client:
    """What all threads of this process share: one identity on the server, also with the processes that it forked."""

    def __init__(self, address: str | None, config: Config) -> None:
        """Start an embedded server, or connect to `address`.

        Raises:
            ConnectionFailedError: nobody listens at the address.
            ServerDiedError: the embedded server did not start.
            ConfigurationError: an address that is not understood.
        """
        self.config = config
        self._process = start_server(config) if address is None else None
        self._address = Address.parse(self._process.address if self._process is not None else address or "")
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._own_ids = range(1 << 63)
        self._frees: deque[int] = deque()
        self.is_closed = False
        # Changes whenever this process may have written to a tensor; a counter's values never come back.
        self.write_number = 0
        self._write_numbers = itertools.count(1)
        self._token: str | None = None
        welcome = self.connection().welcome
        self._token = welcome.client_token
        self.device_type = welcome.device_type

    def connection(self) -> Connection:
        """Return this thread's connection, opening it on first use.

        Raises:
            ConnectionFailedError: the client was shut down, or the server is gone.
        """
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
        return connection

    def _connect(self, *, in_place_of: Connection | None = None) -> Connection:
        if self.is_closed:
            raise ConnectionFailedError(_SHUT_DOWN)
        connection = Connection(self._address, self._token)
        self._local.connection = connection
        with self._lock:
            # The server forgets a client with its last connection, so the first one outlives its thread.
            connection.outlives_thread = not self._connections if in_place_of is None else in_place_of.outlives_thread
            self._connections.append(connection)
            if self.is_closed:  # while this one was opened
                self._connections.remove(connection)
                connection.close()
                raise ConnectionFailedError(_SHUT_DOWN)
        if not connection.outlives_thread:
            self._local.end = end = _ThreadEnd()
            weakref.finalize(end, self._disconnect, connection).atexit = False
        return connection

    def _disconnect(self, connection: Connection) -> None:
        with self._lock:
            if connection in self._connections:
                self._connections.remove(connection)
                connection.close()

    def _free_connection(self) -> Connection:
        """Return this thread's connection; another one in its place if that is busy."""
        connection = self.connection()
        if connection.is_busy:
            busy, connection = connection, self._connect(in_place_of=connection)
            busy.is_left = True
            if busy.is_lost:
                self._disconnect(busy)
        return connection

    def request(
        self,
        message: m.Request,
        payload: memoryview | bytes = b"",
        *,
        expected_us: float = 0.0,
        into: memoryview | None = None,
    ) -> tuple[Any, memoryview | bytes]:
        """Send a request and wait for its reply.

        Returns:
            The reply, and a copy of its payload: `into`, if that is given.

        Raises:
            ProtocolError: the payload is not as long as `into`.
            Exception: whatever `send` and `receive` raise.
        """
        connection = self.send(message, payload)
        try:
            reply, content = self.receive(connection, expected_us)
            if into is None:
                return reply, bytes(content)
            if len(content) != len(into):
                raise ProtocolError(
                    f"{len(into)} bytes were asked for, but {len(content)} came; connect to a server of this version."
                )
            into[:] = content
            return reply, into
        finally:
            self.release(connection)

    def send(self, message: m.Request, payload: memoryview | bytes = b"") -> Connection:
        """Send a request with everything that waits to be freed.

        Returns:
            The connection through which the reply comes; `receive` and `release` have to follow.

        Raises:
            ServerDiedError: the embedded server ended; carries its last words.
            ConnectionFailedError: the server is gone, or the client was shut down.
        """
        if self._frees:
            message.frees = self._take_frees()
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None or connection.is_busy:
                connection = self._free_connection()
            connection.send(message, payload)
            return connection
        except ConnectionFailedError as error:
            raise self._explained(error) from error

    def reply_buffer(self, num_bytes: int) -> ReplyBuffer | None:
        """Return a place for the payload of this thread's next reply, see `Connection.reply_buffer`; raises as `send` does."""
        try:
            return self._free_connection().reply_buffer(num_bytes)
        except ConnectionFailedError as error:
            raise self._explained(error) from error

    def receive(self, connection: Connection, expected_us: float = 0.0) -> tuple[Any, memoryview]:
        """Wait for the reply to what was sent, whose payload is good until `release`.

        Raises as `Connection.receive` and `send` do.
        """
        try:
            return connection.receive(expected_us)
        except ConnectionFailedError as error:
            raise self._explained(error) from error

    def release(self, connection: Connection) -> None:
        """Let a connection be used again; one that was left is closed, and one whose reply nobody took once it is left."""
        if connection.is_left:
            self._disconnect(connection)
        elif connection.awaits_reply:
            connection.is_lost = True
        else:
            connection.is_busy = False

    def _explained(self, error: ConnectionFailedError) -> ConnectionFailedError:
        if self._process is None or self.is_closed or self._process.is_alive():
            return error
        last_words = self._process.last_words()
        return ServerDiedError(
            f"The embedded server died in mid-call ({last_words}); call djinn.shutdown() and djinn.init()."
        )

    @property
    def sent_ns(self) -> int:
        """When this thread's last request was encoded and handed to the transport."""
        return self.connection().sent_ns

    def new_ids(self) -> int:
        """Return the first of a block of unused tensor identifiers."""
        return next(self._ids) * MAX_OUTPUTS

    def note_write(self) -> None:
        """Count a request that may write to a tensor that exists, before it is sent."""
        self.write_number = next(self._write_numbers)

    def free_later(self, tensor_id: int) -> None:
        """Free a tensor with the next request, unless another process made it; safe to call from a finalizer."""
        if tensor_id in self._own_ids:
            self._frees.append(tensor_id)

    def part_from_parent(self) -> None:
        """Go on in a forked process, beside its parent: with connections and identifiers of its own.

        What the parent made can be used, and stays when this process lets go of it; what this process makes and does not
        free stays as long as the parent's identity.
        """
        self._lock, self._local = threading.Lock(), threading.local()
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()
        first = _FIRST_FORKED_BLOCK + os.getpid() * _BLOCKS_EACH
        self._ids = itertools.count(first)
        self._own_ids = range(first * MAX_OUTPUTS, (first + _BLOCKS_EACH) * MAX_OUTPUTS)
        self._frees.clear()
        if self._process is not None:
            self._process.leave_to_parent()
            self._process = None

    def close(self) -> None:
        """Close every connection and end the embedded server."""
        self.is_closed = True
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()
        self._local = threading.local()
        if self._process is not None:
            self._process.stop()

    def _take_frees(self) -> list[int]:
        taken: list[int] = []
        try:
            for _ in range(min(len(self._frees), _MAX_FREES)):
                taken.append(self._frees.popleft())
        except IndexError:  # other threads take at the same time
            pass
        return taken
