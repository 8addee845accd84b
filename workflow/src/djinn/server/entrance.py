"""Lets a client's requests into its sessions: names resolved, memory resident, tensors made that a request brings along."""

from __future__ import annotations

from collections.abc import Sequence

from djinn.core import TensorMeta
from djinn.errors import OutOfMemoryError, SessionClosedError
from djinn.protocol import messages as m
from djinn.scheduling.running import Running
from djinn.server.client_state import ClientState
from djinn.server.core import ServerCore
from djinn.server.elements import check_length, dtype


class Entrance:
    """What one client's requests pass before they compute, and where its tensors come and go."""

    def __init__(self, server: ServerCore, client: ClientState) -> None:
        self._server = server
        self._client = client

    def session(self, session_id: str | None) -> str | None:
        """Return the server's name of one of the client's sessions; None stands for none.

        Raises:
            SessionClosedError: it is not open.
        """
        if session_id is None:
            return None
        qualified = self._client.qualified(session_id)
        if qualified not in self._client.sessions:
            raise SessionClosedError(
                f"Session {session_id!r} is not open; open it with djinn.session() and use it inside."
            )
        return qualified

    def own_session(self, session_id: str) -> str:
        """Return the server's name of a session; raises as `session` does."""
        qualified = self.session(session_id)
        assert qualified is not None, "a session was named by None"
        return qualified

    def enter(
        self, request: m.Request, tensor_ids: list[int], session_ids: Sequence[str] = (), *, may_wait: bool = True
    ) -> Running:
        """Keep a request's sessions resident until the caller leaves them, and make the tensors that it brings along.

        Args:
            request: what enters.
            tensor_ids: its operands, whose sessions have to be resident.
            session_ids: others that have to be.
            may_wait: whether sessions may be restored, waited for, or taken out of a wait that was announced.

        Raises:
            SessionClosedError: one of the sessions is not open.
            OutOfMemoryError: one cannot be restored, or has no room for a tensor.
            PlanError: an unknown tensor, or content that does not fit one.
            WithdrawnError: it may not wait, but would have to.
        """
        if request.session_id is None and not (self._client.sessions or session_ids or request.creations):
            return self._server.scheduler.running()
        running = self._server.scheduler.running(
            [*self._sessions_needed(request, tensor_ids), *session_ids], may_wait=may_wait
        )
        try:
            if request.creations:
                with self._client.settling:
                    self._create_all(request)
        except BaseException:
            running.leave()
            raise
        return running

    def free(self, tensor_ids: list[int]) -> None:
        """Forget tensors, and plans that need them."""
        for tensor_id in tensor_ids:
            self._client.plans.drop_users_of(tensor_id)
            self._client.table.free(tensor_id)

    def _sessions_needed(self, request: m.Request, tensor_ids: list[int]) -> list[str]:
        current = self.session(request.session_id)
        needed = [] if current is None else [current]
        if current is not None and len(self._client.sessions) == 1:  # in which everything lies that lies in any
            return needed
        if request.creations:
            unmade = set()
            for creation in request.creations:
                unmade.add(creation.tensor_id)
                if creation.session_id is not None and creation.session_id != request.session_id:
                    needed.append(self.own_session(creation.session_id))
            tensor_ids = [tensor_id for tensor_id in tensor_ids if tensor_id not in unmade]
        needed += self._client.table.sessions_of(tensor_ids)
        return needed

    def _create_all(self, request: m.Request) -> None:
        for creation in request.creations:
            try:
                self._create(creation)
            except OutOfMemoryError:
                if not request.frees:
                    raise
                frees, request.frees = request.frees, []
                self.free(frees)
                self._create(creation)

    def _create(self, creation: m.Creation) -> None:
        if creation.tensor_id in self._client.table:  # another connection of this client was first
            return
        meta = TensorMeta(creation.shape, creation.strides, dtype(creation.dtype_code))
        if creation.content is not None:
            check_length(meta, len(creation.content))
        session_id = self.session(creation.session_id)
        made = self._server.store.create(self._client.table, creation.tensor_id, meta, session_id)
        if creation.content is not None:
            self._server.compute.fill(made, creation.content)
