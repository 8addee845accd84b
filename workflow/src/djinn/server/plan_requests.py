"""What the server does with requests about plans: make one, execute it, forget it."""

from __future__ import annotations

import time
from contextlib import suppress
from time import perf_counter_ns

from djinn.errors import PlanError, UnknownPlanError
from djinn.planning.plan import make_plan
from djinn.protocol import messages as m
from djinn.scheduling.running import Running
from djinn.server.caller import RemoteCaller
from djinn.server.client_state import ClientState
from djinn.server.core import ServerCore
from djinn.server.entrance import Entrance
from djinn.server.executor import Replayed
from djinn.server.folding import fold_constants
from djinn.server.plan_store import StoredPlan
from djinn.server.subexpressions import share_subexpressions
from djinn.server.traces import trace_of
from djinn.transport.receiver import Payload
from djinn.transport.stream import FramedStream


class PlanRequests:
    """Those of one client's connection."""

    def __init__(
        self, server: ServerCore, client: ClientState, entrance: Entrance, stream: FramedStream | None
    ) -> None:
        """Answer a client of the server's; see `Handler`."""
        self._server = server
        self._client = client
        self._entrance = entrance
        self._stream = stream
        self._pace_s = server.config.plan_pace_s
        self._unsettled: tuple[m.ExecutePlan, StoredPlan, Replayed, Running] | None = None

    def make(self, request: m.MakePlan, payload: Payload) -> m.Reply:
        """Plan a trace and bind the plan."""
        trace = trace_of(request)
        with self._server.executor.computing(trace.default_dtype):
            folded = fold_constants(share_subexpressions(trace), self._server.device)
        plan = make_plan(folded)
        if len(request.weight_ids) > request.num_inputs:
            raise PlanError(
                f"{len(request.weight_ids)} weights were named for {request.num_inputs} inputs; name fewer."
            )
        binding = self._server.executor.bind(plan)
        with self._client.settling:  # nothing is freed meanwhile
            table, weight_ids = self._client.table, request.weight_ids
            weights, session_ids = table.entries(weight_ids), table.sessions_of(weight_ids)
            plan_id = self._client.plans.add(StoredPlan(plan, binding, weight_ids, weights, session_ids))
        return m.Planned(
            plan_id=plan_id,
            peak_bytes=plan.placement.peak_bytes,
            lower_bound_bytes=plan.placement.lower_bound_bytes,
            held_bytes=binding.held_bytes,
            has_effects=bool(binding.written_inputs) or binding.uses_random_numbers,
        )

    def execute(self, request: m.ExecutePlan) -> tuple[m.Reply, memoryview | bytes]:
        """Execute a plan, or launch it, and return the reply; the results are registered by `settle`.

        What the request frees is freed there, too: the caller does not wait for that.
        """
        client = self._client
        settling = client.settling
        # What other connections have left to settle may be what this one computes with.
        settling.acquire()
        settling.release()
        stored = client.plans.get(request.plan_id)
        # Others would wait for what may be withdrawn.
        running = self._entrance.enter(
            request, request.input_ids, stored.session_ids, may_wait=not request.is_provisional
        )
        executor = self._server.executor
        try:
            done = self._replay(request, stored)
            reply = _reply(request, stored, done, running.restore_us)
        except BaseException:
            running.leave()
            raise
        settling.acquire()
        if stored.binding.returned_inputs and executor.has_lost_inputs(stored, done):
            settling.release()
            with suppress(Exception):  # what is announced still reads and writes, and nobody will be told how it ends
                executor.await_results()
            running.leave()
            raise UnknownPlanError("A tensor that the plan returns was freed before its reply; plan the call again.")
        # It keeps the results until they were sent, whose memory the content is.
        self._unsettled = request, stored, done, running
        return reply

    def settle(self) -> Exception | None:
        """Do what the last execution left to do, once its reply was sent; return why a device failed that was to end it."""
        unsettled, self._unsettled = self._unsettled, None
        if unsettled is None:
            return None
        request, stored, done, running = unsettled
        try:
            self._register(request, stored, done)
        finally:
            # Its sessions stay where they are for as long as the device reads and writes them.
            try:
                error = self._await_end() if done.results.is_announced else None
            finally:
                running.leave()
        return error

    def drop(self, request: m.DropPlans, payload: Payload) -> m.Reply:
        """Forget plans."""
        for plan_id in request.plan_ids:
            self._client.plans.drop(plan_id)
        return m.Done()

    def _replay(self, request: m.ExecutePlan, stored: StoredPlan) -> Replayed:
        client, pace_s = self._client, self._pace_s
        done = self._server.executor.execute(
            client.table,
            client.generator,
            stored,
            request.input_ids,
            request.base_id,
            RemoteCaller(self._stream, request, pace_s is None and stored.binding.guard is None),
            passed=request.passed,
            fetches_result=request.wants_result,
        )
        if pace_s is not None:
            time.sleep(max(0.0, pace_s - (perf_counter_ns() - done.started_ns) / 1e9))
        return done

    def _register(self, request: m.ExecutePlan, stored: StoredPlan, done: Replayed) -> None:
        try:
            self._server.executor.register_outputs(self._client.table, stored, request.base_id, done)
            self._entrance.free(request.frees)
            self._server.executor.make_ready(stored.binding)
        finally:
            self._client.settling.release()

    def _await_end(self) -> Exception | None:
        assert self._stream is not None, "an end was announced to nobody"
        try:
            self._server.executor.await_results()
        except Exception as error:  # the client gets it; the server lives on
            # Unless the device failed later: the client has gone on, and would take it for the reply to its next request.
            if not self._stream.is_end_told:
                return error
        self._stream.note_end()
        return None


def _reply(
    request: m.ExecutePlan, stored: StoredPlan, done: Replayed, restore_us: float
) -> tuple[m.Reply, memoryview | bytes]:
    results = done.results
    content = (results.content if request.wants_result else None) or b""
    if results.is_announced:
        return m.Launched(started_ns=done.started_ns, restore_us=restore_us), content
    reply = m.Done(started_ns=done.started_ns, finished_ns=done.finished_ns, restore_us=restore_us)
    if stored.binding.guard is not None:
        reply.learned = stored.binding.guard.learned
    return reply, content
