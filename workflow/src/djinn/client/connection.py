"""One connection to a server: a request out, its reply back."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from time import perf_counter_ns

from djinn.client.remote_errors import to_exception
from djinn.errors import ConfigurationError, ConnectionFailedError, ProtocolError
from djinn.protocol import messages as m
from djinn.protocol.codec import decode_reply, encode
from djinn.transport.address import Address
from djinn.transport.cores import current_core
from djinn.transport.receiver import Payload
from djinn.transport.reply_buffers import ReplyBuffer, ReplyBuffers
from djinn.transport.secret import is_proof, load_secret, new_nonce, prove
from djinn.transport.shared_memory import SharedMemory
from djinn.transport.stream import FramedStream

# Polling takes a core that a long computation on the server could use, so it is kept to short waits and to the end of
# long ones: waking from a sleep costs 30 to 300 us.
SPIN_US = 200.0
# Where the server leaves a core free, somewhat longer waits are polled through too: the code that follows a sleep of
# 2 ms runs at a third of its speed here, after as long a poll at two thirds.
_SPARE_SPIN_US = 5_000.0
# And replies may be later than expected: before a plan with many arguments is executed, 300 us can pass.
_SPARE_LATE_US = 500.0
_SLEPT_SHARE, _POLLED_SHARE = 0.85, 0.3
_MAX_POLLED_US = 20_000.0
# Whoever wakes the server, or was woken by it, tells it the core that it runs on: the system likes to put both on one. A
# server that is awake otherwise runs elsewhere already, as a rule.
_MAX_UNPLACED = 16
_GREETING_S = 30
_spin_turn = threading.Lock()


class Connection:
    """A greeted connection; used by one thread, and closed when nobody holds it any more.

    Attributes:
        welcome: what the server said of itself.
        sent_ns: when the last request was encoded and handed to the transport.
        awaits_reply: whether a request was sent whose reply was not received, or announced what has not ended.
        is_busy: whether what the reply brought may not have been taken yet, either. Whoever sends something meanwhile, a
            finalizer or the handler of a signal, or the next call after an interrupted one, takes another connection.
    """

    def __init__(self, address: Address, client_token: str | None) -> None:
        """Connect and greet.

        Raises:
            ConnectionFailedError: nobody listens there.
            ProtocolError: the server refuses.
            ConfigurationError: a secret that cannot be used, or none for another host.
        """
        self._is_local = address.path is not None
        self._secret = None if self._is_local else load_secret()
        if self._secret is None and not address.is_loopback:
            raise ConfigurationError(
                f"Address {address} is another host, which has to know a secret; set GENIE_SECRET_FILE, or connect through ssh."
            )
        self._stream = FramedStream(address.connect())
        self.sent_ns = 0
        weakref.finalize(self, self._stream.close).atexit = False
        self.awaits_reply = self.is_busy = False
        self._polled_us = self._late_us = SPIN_US
        self._num_unplaced = 0
        self._reply_buffers: ReplyBuffers | None = None
        try:
            self._open(address, client_token)
        except BaseException:
            self._stream.close()
            raise
        has_spare_core = self._is_local and self.welcome.num_threads < len(os.sched_getaffinity(0))
        if has_spare_core:
            self._polled_us, self._late_us = _SPARE_SPIN_US, _SPARE_LATE_US

    def _open(self, address: Address, client_token: str | None) -> None:
        # The memory comes before any frame: a read of frames would swallow it.
        memory = None
        if address.path is not None:
            self._await_answer(address)
            memory = self._stream.receive_file()
            if memory is None:
                self.receive()  # raises what the server says instead
                raise ProtocolError(f"The server at {address} passed no shared memory; connect to a djinn server.")
        self.welcome = self._greet(address, client_token)
        if memory is not None:
            self._stream.shared = SharedMemory(memory, self.welcome.shared_bytes)
            self._stream.open_mailboxes(is_creator=False)
            self._reply_buffers = ReplyBuffers(self._stream.shared)

    def _greet(self, address: Address, client_token: str | None) -> m.Welcome:
        secret = self._secret
        nonce = new_nonce() if secret is not None else b""
        reply = self._ask(address, m.Hello(version=m.PROTOCOL_VERSION, client_token=client_token, nonce=nonce))
        if isinstance(reply, m.Challenge) and secret is not None:
            if not is_proof(reply.proof, secret, "server", nonce, reply.nonce):
                raise ProtocolError(f"The server at {address} does not know the secret; check GENIE_SECRET_FILE there.")
            reply = self._ask(address, m.Prove(proof=prove(secret, "client", nonce, reply.nonce)))
        elif secret is not None and not address.is_loopback:
            raise ProtocolError(f"The server at {address} did not ask for the secret; connect to one that does.")
        if not isinstance(reply, m.Welcome):
            raise ProtocolError(f"The server at {address} answered a greeting with {type(reply).__name__}.")
        return reply

    def _ask(self, address: Address, message: m.Request) -> m.Reply:
        self.send(message)
        if not self._stream.wait_spinning(SPIN_US):
            self._await_answer(address)
        reply, _ = self.receive()
        self.is_busy = False
        return reply

    def _await_answer(self, address: Address) -> None:
        """Wait until something comes of whoever listens, which may be a server that is stopped, or no server."""
        if not self._stream.wait_asleep(_GREETING_S * 1e6):
            raise ConnectionFailedError(
                f"Who listens at {address} did not answer within {_GREETING_S} s; connect to a djinn server that runs."
            )

    def request(
        self, message: m.Request, payload: memoryview | bytes = b"", *, expected_us: float = 0.0
    ) -> tuple[m.Reply, Payload]:
        """Send a request and wait for its reply; raises as `send` and `receive` do."""
        self.send(message, payload)
        received = self.receive(expected_us)
        self.is_busy = False
        return received

    def send(self, message: m.Request, payload: memoryview | bytes = b"") -> None:
        """Send a request, whose reply has to be received next.

        Raises:
            ConnectionFailedError: the server is gone.
        """
        if self._is_local and (self._num_unplaced == 0 or not self._stream.is_peer_awake):
            message.client_core = current_core()
            self._num_unplaced = _MAX_UNPLACED
        else:
            self._num_unplaced -= 1
        body = encode(message)
        self.sent_ns = perf_counter_ns()
        self.awaits_reply = self.is_busy = True
        self._stream.send(body, payload)

    def confirm(self) -> None:
        """Let the server carry out the request that was sent provisionally."""
        self._stream.confirm()

    def withdraw(self) -> None:
        """Let the server refuse it."""
        self._stream.withdraw()

    def reply_buffer(self, num_bytes: int) -> ReplyBuffer | None:
        """Return a place where a reply's payload may come to and stay; None where there is no room, or another host."""
        return None if self._reply_buffers is None else self._reply_buffers.take(num_bytes)

    def prepare_reply_buffer(self, num_bytes: int) -> None:
        """Have such a place ready for the next request; best done while a reply is awaited."""
        if self._reply_buffers is not None:
            with contextlib.suppress(ValueError):  # another thread closed this end, as `receive` will say
                self._reply_buffers.prepare(num_bytes)

    def receive(self, expected_us: float = 0.0) -> tuple[m.Reply, Payload]:
        """Wait for the reply.

        Args:
            expected_us: how long the server will probably take; long waits block at once instead of polling.

        Raises:
            Exception: what the server reports, as the class that a local call would raise.
            ConnectionFailedError: the server is gone.
        """
        received = self._stream.take()
        if received is None:
            self._await_reply(expected_us)
            received = self._stream.receive()
        body, payload = received
        reply = decode_reply(body)
        self.awaits_reply = type(reply) is m.Launched
        if type(reply) is m.Failed:
            raise to_exception(reply)
        return reply, payload

    def await_end(self, expected_us: float) -> int:
        """Wait until the server's device has done what a reply of `Launched` announced.

        Args:
            expected_us: how long that will probably take, see `receive`.

        Returns:
            The end, in nanoseconds of `perf_counter_ns`.

        Raises:
            Exception: what the server reports instead.
            ConnectionFailedError: the server is gone.
        """
        stream = self._stream
        if not stream.has_ended():
            self._await_reply(expected_us, awaits_end=True)
            if not stream.await_end():
                self.receive()
                raise ProtocolError("The server sent a second reply to a request; connect to a server of this version.")
        self.awaits_reply = False
        return perf_counter_ns()

    def _await_reply(self, expected_us: float, *, awaits_end: bool = False) -> None:
        """Poll through a short wait, sleep through most of a long one and poll at its end; one polling thread is enough."""
        sleeps = expected_us > self._polled_us
        if sleeps and not self._stream.wait_asleep(_SLEPT_SHARE * expected_us, awaits_end=awaits_end):
            expected_us *= _POLLED_SHARE
        if expected_us < _MAX_POLLED_US and _spin_turn.acquire(blocking=False):
            try:
                sleeps |= not self._stream.wait_spinning(self._late_us + expected_us, awaits_end=awaits_end)
            finally:
                _spin_turn.release()
        if sleeps:
            self._num_unplaced = 0

    def close(self) -> None:
        """Close the connection; a reply that is under way is lost."""
        self.awaits_reply = False
        self._stream.close()
