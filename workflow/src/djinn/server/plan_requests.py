"""What the server does with requests about plans: make one, execute it, forget it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
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
from djinn.transport.stream import FramedStream

# Stands for a reply that was sent already.
SENT = m.Done()
_NOTHING = memoryview(b"")


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
        self._unsettled: Callable[[], None] | None = None

    def make(self, request: m.MakePlan, payload: memoryview) -> m.Reply:
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

    def execute(self, request: m.ExecutePlan, payload: memoryview) -> tuple[m.Reply, memoryview]:
        """Execute a plan and return the reply, or SENT; the results are registered by `settle`."""
        stored = self._client.plans.get(request.plan_id)
        may_wait = not request.is_provisional  # others would wait for what may be withdrawn
        running = self._entrance.enter(request, request.input_ids, stored.session_ids, may_wait=may_wait)
        caller = RemoteCaller(self._stream, request, running.restore_us)
        try:
            done = self._replay(request, stored, caller)
        except BaseException:
            running.leave()
            raise
        self._client.settling.acquire()
        if stored.binding.returned_inputs and self._server.executor.has_lost_inputs(stored, done):
            self._client.settling.release()
            running.leave()
            raise UnknownPlanError("A tensor that the plan returns was freed before its reply; plan the call again.")
        # It keeps the results until they were sent, whose memory the content is.
        self._unsettled = partial(self._settle, request, stored, done, running)
        try:
            return self._reply(request, stored, done, caller)
        except BaseException:
            self.settle()  # others wait for it
            raise

    def settle(self) -> None:
        """Do what the last execution left to do, once its reply was sent."""
        unsettled, self._unsettled = self._unsettled, None
        if unsettled is not None:
            unsettled()

    def drop(self, request: m.DropPlans, payload: memoryview) -> m.Reply:
        """Forget plans."""
        for plan_id in request.plan_ids:
            self._client.plans.drop(plan_id)
        return m.Done()

    def _replay(self, request: m.ExecutePlan, stored: StoredPlan, caller: RemoteCaller) -> Replayed:
        done = self._server.executor.execute(
            self._client.table,
            self._client.generator,
            stored,
            request.input_ids,
            request.base_id,
            caller,
            passed=request.passed,
            fetches_result=request.wants_result,
        )
        pace_s = self._server.config.plan_pace_s
        if pace_s is not None:
            time.sleep(max(0.0, pace_s - (perf_counter_ns() - done.started_ns) / 1e9))
        return done

    def _reply(
        self, request: m.ExecutePlan, stored: StoredPlan, done: Replayed, caller: RemoteCaller
    ) -> tuple[m.Reply, memoryview]:
        content = (done.results.content if request.wants_result else None) or _NOTHING
        guard = stored.binding.guard
        if guard is None and self._server.compute.is_asynchronous and caller.reply(done.finished_ns, content):
            return SENT, _NOTHING
        return m.Done(
            started_ns=done.started_ns,
            learned=None if guard is None else guard.learned,
            restore_us=caller.restore_us,
            finished_ns=done.finished_ns,
        ), content

    def _settle(self, request: m.ExecutePlan, stored: StoredPlan, done: Replayed, running: Running) -> None:
        try:
            self._server.executor.register_outputs(self._client.table, stored, request.base_id, done)
            self._entrance.free(request.frees)
            self._server.executor.make_ready(stored.binding)
        finally:
            try:
                running.leave()
            finally:
                self._client.settling.release()
