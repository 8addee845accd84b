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
from djinn.transport.mailbox import IS_SUPPORTED as HAS_MAILBOXES
from djinn.transport.receiver import Payload
from djinn.transport.reply_buffers import ReplyBuffer

_MAX_FREES = 4096
# Blocks of identifiers: those of a forked process begin behind all of its parent's, at a place that its number decides.
_FIRST_FORKED_BLOCK = 1 << 46
_BLOCKS_EACH = 1 << 24
_SHUT_DOWN = "The runtime was shut down; call djinn.init() again."


class Client:
    """What all threads of this process share: one identity on the server, also with the processes that it forked.

    A connection belongs to its thread and to the calls that wait for its replies, and is closed when all of these are gone.

    Attributes:
        config: the settings.
        can_confirm: whether a request may be sent provisionally.
        is_closed: whether the client was shut down.
        write_number: changes whenever this process may have written to a tensor; a counter's values never come back.
        device_type: what the server computes on.
    """

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
        self.can_confirm = self._address.path is not None and HAS_MAILBOXES
        self._local = threading.local()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        # The server forgets a client with its last connection, so one outlives its thread.
        self._kept: Connection | None = None
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._own_ids = range(1 << 63)
        self._frees: deque[int] = deque()
        self.is_closed = False
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

    def _connect(self) -> Connection:
        """Open this thread's connection, in place of the one that it has."""
        if self.is_closed:
            raise ConnectionFailedError(_SHUT_DOWN)
        connection = Connection(self._address, self._token)
        with self._lock:
            if self.is_closed:  # while this one was opened
                connection.close()
                raise ConnectionFailedError(_SHUT_DOWN)
            self._connections.add(connection)
            if self._kept is None or self._kept is getattr(self._local, "connection", None):
                self._kept = connection
            self._local.connection = connection
        return connection

    def _free_connection(self) -> Connection:
        """Return this thread's connection; another one in its place if that is busy."""
        connection = self.connection()
        return self._connect() if connection.is_busy else connection

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
        try:
            if self._frees:
                message.frees = self._take_frees()
            connection = getattr(self._local, "connection", None)
            if connection is None or connection.is_busy:
                connection = self._free_connection()
            connection.send(message, payload)
            return connection
        except BaseException as error:
            # Whether it came there is not known; freeing twice is harmless, since identifiers are used once.
            self._frees.extendleft(message.frees)
            if isinstance(error, ConnectionFailedError):
                raise self._explained(error) from error
            raise

    def reply_buffer(self, num_bytes: int) -> ReplyBuffer | None:
        """Return a place for the payload of this thread's next reply, see `Connection.reply_buffer`; raises as `send` does."""
        try:
            return self._free_connection().reply_buffer(num_bytes)
        except ConnectionFailedError as error:
            raise self._explained(error) from error

    def receive(self, connection: Connection, expected_us: float = 0.0) -> tuple[Any, Payload]:
        """Wait for the reply to what was sent, whose payload is good until `release`.

        Raises as `Connection.receive` and `send` do.
        """
        try:
            return connection.receive(expected_us)
        except ConnectionFailedError as error:
            raise self._explained(error) from error

    def await_end(self, connection: Connection, expected_us: float) -> int:
        """Wait for the end that the reply announced, and return it; raises as `Connection.await_end` and `send` do."""
        try:
            return connection.await_end(expected_us)
        except ConnectionFailedError as error:
            raise self._explained(error) from error

    def release(self, connection: Connection) -> None:
        """Let a connection be used again, unless the wait for its reply was interrupted: it still comes."""
        connection.is_busy = connection.awaits_reply

    def _explained(self, error: ConnectionFailedError) -> ConnectionFailedError:
        if self._process is None or self.is_closed or self._process.is_alive():
            return error
        last_words = self._process.last_words()
        return ServerDiedError(
            f"The embedded server died in mid-call ({last_words}); call djinn.shutdown() and djinn.init()."
        )

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
        self._lock = threading.Lock()
        self._close_connections()
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
        self._close_connections()
        if self._process is not None:
            self._process.stop()

    def _close_connections(self) -> None:
        with self._lock:
            connections, self._connections = list(self._connections), weakref.WeakSet()
            self._kept, self._local = None, threading.local()
        for connection in connections:
            connection.close()

    def _take_frees(self) -> list[int]:
        frees = self._frees
        taken: list[int] = []
        try:
            taken.append(frees.popleft())
            while frees and len(taken) < _MAX_FREES:
                taken.append(frees.popleft())
        except IndexError:  # other threads take at the same time
            pass
        return taken
