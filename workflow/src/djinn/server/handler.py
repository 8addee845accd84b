"""What the server does with each request: one method a message, no sockets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import torch

from djinn.core import DTYPE_CODES, TensorMeta
from djinn.errors import OutOfMemoryError, PlanError, SessionClosedError
from djinn.host_bytes import readable_bytes
from djinn.memory.arena import Arena
from djinn.protocol import messages as m
from djinn.server.client_state import ClientState
from djinn.server.core import ServerCore
from djinn.server.elements import dense_strides, dtype, from_bytes
from djinn.server.entrance import Entrance
from djinn.server.plan_requests import PlanRequests
from djinn.transport.receiver import Payload
from djinn.transport.stream import FramedStream

MAX_PING_US = 1e6
# A session that holds no memory still costs about two kilobytes.
MAX_SESSIONS = 1 << 18

# What enters the sessions of its operands makes the tensors that come with it there.
_ENTERING = (m.RunOperator, m.Download)

Answer = tuple[m.Reply, memoryview | bytes]


class Handler:
    """Answers the requests of one client's connection."""

    def __init__(self, server: ServerCore, client: ClientState, stream: FramedStream | None = None) -> None:
        """Answer a client of the server's.

        Args:
            server: the server.
            client: the client.
            stream: the connection, through which executions confer with the client; None if every reply is returned.
        """
        self._server = server
        self._client = client
        self._entrance = Entrance(server, client)
        self._plans = PlanRequests(server, client, self._entrance, stream)
        # Kept until the answer was sent, whose payload is its memory.
        self._lent: torch.Tensor | None = None
        self._opened: Arena | None = None
        self._methods: dict[type[m.Request], Callable[[Any, Payload], m.Reply | Answer]] = {
            m.Upload: self._upload,
            m.Download: self._download,
            m.RunOperator: self._run_operator,
            m.MakePlan: self._plans.make,
            m.DropPlans: self._plans.drop,
            m.OpenSession: self._open_session,
            m.CloseSession: self._close_session,
            m.Signal: self._signal,
            m.Checksum: self._checksum,
            m.Seed: self._seed,
            m.RandomState: self._random_state,
            m.Stats: self._stats,
            m.Audit: self._audit,
            m.Ping: _ping,
        }

    def answer(self, request: m.Request, payload: Payload) -> Answer:
        """Carry a request out and return the reply with its payload; every error becomes a reply too.

        What nobody waits for is left to `settle`, which has to be called after the reply was sent.
        """
        try:
            if type(request) is m.ExecutePlan:
                return self._plans.execute(request)
            self._prepare(request)
            reply = self._methods[type(request)](request, payload)
            return reply if isinstance(reply, tuple) else (reply, b"")
        except Exception as error:  # the peer gets every error; the server lives on
            if isinstance(request, m.ExecutePlan):  # which would leave this to `settle`
                with self._client.settling:
                    self._entrance.free(request.frees)
            return self._failed(error), b""

    def settle(self) -> m.Failed | None:
        """Do what the last answer left to do, now that it was sent; return a second one if the device failed meanwhile."""
        self._lent = None
        error = self._plans.settle()
        return None if error is None else self._failed(error)

    def _failed(self, error: Exception) -> m.Failed:
        return m.Failed(error=type(error).__name__, message=self._client.unqualified(str(error)))

    def take_back(self, request: m.Request, reply: m.Reply) -> None:
        """Undo what made something for a client that left before it knew: nobody else would free it while others stay.

        That a reply finds nobody is known on one host alone; what is left behind over TCP goes with its client.
        """
        if isinstance(reply, m.Failed):
            return
        if isinstance(request, m.ExecutePlan | m.RunOperator):
            made = range(request.base_id, request.base_id + m.MAX_OUTPUTS)
            with self._client.settling:
                self._entrance.free([tensor_id for tensor_id in made if tensor_id in self._client.table])
        elif isinstance(request, m.OpenSession):
            session_id = self._client.qualified(request.opened_id)
            if self._client.sessions.get(session_id) is self._opened:
                with contextlib.suppress(SessionClosedError):  # another connection is as quick
                    self._close(session_id)
        elif isinstance(reply, m.Planned):
            self._client.plans.drop(reply.plan_id)

    def _prepare(self, request: m.Request) -> None:
        """Wait for what other connections have left to `settle`, and do what comes with any request but executions."""
        with self._client.settling:
            self._entrance.free(request.frees)
        if request.creations and not isinstance(request, _ENTERING):
            self._entrance.enter(request, []).leave()

    def _upload(self, request: m.Upload, payload: Payload) -> m.Reply:
        meta = TensorMeta(request.shape, dense_strides(request.shape), dtype(request.dtype_code))
        if meta.extent_bytes != len(payload):
            raise PlanError(
                f"An upload of shape {request.shape} needs {meta.extent_bytes} bytes, but {len(payload)} came; send them all."
            )
        source = from_bytes(payload, meta)
        if request.is_weight:
            self._server.store.store_weight(self._client.table, request.base_id, source)
            return m.Done()
        session_id = self._entrance.session(request.session_id)
        with self._server.scheduler.running([session_id] if session_id else []):
            self._server.store.create(self._client.table, request.base_id, meta, session_id).copy_(source)
        return m.Done()

    def _download(self, request: m.Download, payload: Payload) -> Answer:
        with self._entrance.enter(request, [request.tensor_id]):
            entry = self._client.table.entry(request.tensor_id)
            tensor = self._server.compute.begin_fetch(entry.tensor)
            self._server.compute.wait()
            if tensor is entry.tensor and entry.block is not None and entry.block.session_id is not None:
                # The arena's memory may be given away before a slow client has taken everything.
                tensor = tensor.clone()
        self._lent = tensor
        return m.Bytes(shape=tuple(tensor.shape), dtype_code=DTYPE_CODES[tensor.dtype]), readable_bytes(tensor)

    def _run_operator(self, request: m.RunOperator, payload: Payload) -> m.Reply:
        client = self._client
        with self._entrance.enter(request, request.tensor_ids) as restore_us:
            done = self._server.executor.run_operator(
                client.table, client.generator, request.call, request.tensor_ids, request.base_id
            )
        return m.Described(
            outputs=done.outputs,
            is_sequence=done.is_sequence,
            started_ns=done.started_ns,
            finished_ns=done.finished_ns,
            restore_us=restore_us,
        )

    def _open_session(self, request: m.OpenSession, payload: Payload) -> m.Reply:
        if len(self._client.sessions) >= MAX_SESSIONS:
            raise OutOfMemoryError(
                f"The client has {len(self._client.sessions)} sessions open, as many as it may have; close some of them."
            )
        qualified = self._client.qualified(request.opened_id)
        arena = self._server.scheduler.open(qualified, request.arena_bytes)
        self._client.sessions[qualified] = self._opened = arena
        return m.Opened(arena_bytes=arena.arena_bytes)

    def _close_session(self, request: m.CloseSession, payload: Payload) -> m.Reply:
        self._close(self._entrance.own_session(request.closed_id))
        return m.Done()

    def _close(self, session_id: str) -> None:
        with self._client.settling:
            for tensor_id in self._client.table.close_session(session_id):
                self._client.plans.drop_users_of(tensor_id)
        self._server.scheduler.close(session_id)
        self._client.sessions.pop(session_id, None)

    def _signal(self, request: m.Signal, payload: Payload) -> m.Reply:
        session_id = self._entrance.own_session(request.signalled_id)
        restore_us = self._server.scheduler.signal(session_id, request.phase, request.estimated_resume_ms)
        return m.Done(restore_us=restore_us)

    def _checksum(self, request: m.Checksum, payload: Payload) -> m.Reply:
        return m.Digest(digest=self._server.scheduler.checksum(self._entrance.own_session(request.checked_id)))

    def _seed(self, request: m.Seed, payload: Payload) -> m.Reply:
        self._client.generator.manual_seed(request.seed)
        return m.Done()

    def _random_state(self, request: m.RandomState, payload: Payload) -> Answer:
        state = self._lent = self._client.generator.get_state()
        if payload:
            self._client.generator.set_state(torch.frombuffer(bytearray(payload), dtype=torch.uint8))
        return m.Bytes(shape=tuple(state.shape), dtype_code=DTYPE_CODES[state.dtype]), readable_bytes(state)

    def _audit(self, request: m.Audit, payload: Payload) -> m.Reply:
        self._server.check_integrity()
        return m.Done()

    def _stats(self, request: m.Stats, payload: Payload) -> m.Reply:
        plans = self._client.plans
        own = {"num_tensors": len(self._client.table), "num_plans": len(plans), "plan_bytes": plans.held_bytes}
        return m.Counters(values={**self._server.stats(), "client": own})


def _ping(request: m.Ping, payload: Payload) -> m.Reply:
    if not 0 <= request.busy_us <= MAX_PING_US:
        raise ValueError(f"A ping of {request.busy_us} us was asked for; ask for 0 to {MAX_PING_US:.0f}.")
    started_ns = perf_counter_ns()
    deadline_ns = started_ns + int(request.busy_us * 1e3)
    while (now_ns := perf_counter_ns()) < deadline_ns:
        pass
    return m.Done(started_ns=started_ns, finished_ns=now_ns)
