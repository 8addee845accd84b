"""Accepts connections and serves each in a thread of its own."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import threading

import torch

from djinn.errors import ConfigurationError, ConnectionFailedError, ProtocolError
from djinn.protocol import messages as m
from djinn.protocol.codec import decode_request, encode
from djinn.server.core import ServerCore
from djinn.server.greeting import greet, welcome
from djinn.server.handler import Handler
from djinn.transport.address import Address
from djinn.transport.cores import Seat
from djinn.transport.receiver import Payload
from djinn.transport.secret import load_secret
from djinn.transport.shared_memory import SharedMemory
from djinn.transport.stream import FramedStream

# After a request the next one often follows within microseconds; after this time the thread sleeps in the kernel.
SPIN_US = 500.0
# A client that does not take its reply for so long is left: until it has, its sessions stay in device memory.
MAX_SEND_S = 30
# So is one that has begun a message for so long.
MAX_RECEIVE_S = 30
# Each connection costs a thread and three descriptors: its socket, its shared memory and the mapping of that.
MAX_CONNECTIONS = 1024
_DESCRIPTORS_EACH, _DESCRIPTORS_ELSE = 3, 128


CONNECTION_THREAD = "djinn-connection"
_NO_PLACE = "The server has as many connections as it takes; close some of them, then connect again."


class Listener:
    """A listening socket in front of a server core."""

    def __init__(self, core: ServerCore, address: Address) -> None:
        """Bind the address.

        Raises:
            ConfigurationError: a TCP host other than loopback without a secret, or a secret that cannot be used.
            ConnectionFailedError: the address cannot be bound.
        """
        self._secret = load_secret() if address.path is None else None
        if address.path is None and not address.is_loopback and self._secret is None:
            raise ConfigurationError(
                f"Address {address} is not loopback, and anyone could connect to it; set GENIE_SECRET_FILE to a file with a "
                "secret, or listen at tcp://127.0.0.1:PORT and forward it through ssh."
            )
        self._core = core
        self._socket = address.listen()
        self.address = address
        self._file = _identity(address.path)
        if address.path is None:
            self.address = Address(host=address.host, port=self._socket.getsockname()[1])
        # One spinning thread is quick; several would take turns at one interpreter and slow each other.
        self._spin_turn = threading.Lock()
        self._free_places = threading.Semaphore(_max_connections())

    def serve(self) -> None:
        """Accept connections until the socket is closed; those for which there is no place are told so."""
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if not self._begin_to_serve(connection):
                with connection:
                    _refuse(FramedStream(connection), ProtocolError(_NO_PLACE))

    def _begin_to_serve(self, connection: socket.socket) -> bool:
        """Serve a connection in a thread of its own, if there is a place for it."""
        if not self._free_places.acquire(blocking=False):
            return False
        thread = threading.Thread(target=self._serve_in_place, args=(connection,), name=CONNECTION_THREAD, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system grants no more threads
            self._free_places.release()
            return False
        return True

    def _serve_in_place(self, connection: socket.socket) -> None:
        try:
            self._serve_connection(connection)
        finally:
            self._free_places.release()

    def close(self) -> None:
        """Stop accepting and remove the Unix socket's file, unless another server's lies there meanwhile."""
        self._socket.close()
        path = self.address.path
        if path is not None and self._file is not None and _identity(path) == self._file:
            os.unlink(path)

    def _serve_connection(self, connection: socket.socket) -> None:
        stream = FramedStream(connection, MAX_RECEIVE_S)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("2l", MAX_SEND_S, 0))
            if connection.family == socket.AF_UNIX:
                _check_peer(connection)
            with torch.inference_mode():
                self._converse(stream, is_local=connection.family == socket.AF_UNIX)
        except ConnectionFailedError as error:
            if isinstance(error, ProtocolError):
                _refuse(stream, error)
        finally:
            stream.close()

    def _converse(self, stream: FramedStream, *, is_local: bool) -> None:
        if is_local:
            stream.shared = SharedMemory.create()
            stream.send_file(stream.shared.file)
        client = greet(self._core, stream, None if is_local else self._secret)
        try:
            welcome(self._core, stream, client)
            stream.note_greeting()
            if is_local:
                stream.open_mailboxes(is_creator=True)
            self._answer_requests(stream, Handler(self._core, client, stream))
        finally:
            self._core.detach(client)

    def _answer_requests(self, stream: FramedStream, handler: Handler) -> None:
        seat = Seat(torch.get_num_threads())
        answered: tuple[m.Request, m.Reply] | None = None
        try:
            while True:
                body, payload = self._receive(stream)
                request = decode_request(body)
                seat.leave_to_client(request.client_core)
                reply, reply_payload = handler.answer(request, payload)
                answered = request, reply
                try:
                    stream.send(encode(reply), reply_payload, offset_bytes=request.reply_offset)
                finally:
                    failed = handler.settle()
                if failed is not None:
                    stream.send(encode(failed))
        finally:
            if answered is not None and not stream.is_taken:
                handler.take_back(*answered)

    def _receive(self, stream: FramedStream) -> tuple[bytes, Payload]:
        if self._spin_turn.acquire(blocking=False):
            try:
                stream.wait_spinning(SPIN_US)
            finally:
                self._spin_turn.release()
        return stream.receive()


def _identity(path: str | None) -> tuple[int, int] | None:
    """Return what tells a file from others that have its path at other times; None if there is none."""
    if path is None or not os.path.exists(path):
        return None
    status = os.stat(path)
    return status.st_ino, status.st_ctime_ns


def _max_connections() -> int:
    """Return for how many connections this process may have descriptors."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, (limit - _DESCRIPTORS_ELSE) // _DESCRIPTORS_EACH))


def _check_peer(connection: socket.socket) -> None:
    """Admit only processes of the server's own user.

    Raises:
        ProtocolError: a peer of another user.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user_id, _ = struct.unpack("3i", credentials)
    if user_id != os.getuid():
        raise ProtocolError(
            f"User {user_id} may not use this server, which belongs to user {os.getuid()}; start your own."
        )


def _refuse(stream: FramedStream, error: ProtocolError) -> None:
    with contextlib.suppress(ConnectionFailedError):  # the peer that broke the protocol may be gone already
        stream.send(encode(m.Failed(error=type(error).__name__, message=str(error))))
