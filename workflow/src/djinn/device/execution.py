"""One execution of a plan: sent, then completed; the client makes what the call returns while the server computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from torch.autograd.graph import increment_version

from djinn.client import runtime
from djinn.client.connection import Connection
from djinn.device.arguments import Arguments
from djinn.device.call_times import note_call
from djinn.device.handle import Handle, Pending
from djinn.device.planner import ClientPlan
from djinn.device.prefetch import Prefetched, Prefetcher
from djinn.device.recipes import Materials
from djinn.device.tensor import RemoteTensor
from djinn.device.transfer import creations, known_ids, note_created
from djinn.errors import ConnectionFailedError, ProtocolError, WithdrawnError
from djinn.protocol import messages as m
from djinn.transport.reply_buffers import ReplyBuffer

# Past the type's own call, which would look for something to initialise.
_make_tensor = RemoteTensor.__new__
_NOTHING: tuple[dict[int, Pending], list[RemoteTensor]] = {}, []


class Execution(msgspec.Struct, eq=False):
    """A plan that the server was told to execute; `complete` has to follow, or `withdraw` if it is provisional.

    Attributes:
        plan: what is executed.
    """

    plan: ClientPlan
    _connection: Connection
    _input_ids: list[int]
    _base_id: int
    _wants_result: bool
    _place: ReplyBuffer | None
    _write_number: int
    _passed: dict[int, Pending]
    _created: list[RemoteTensor]

    @classmethod
    def send(
        cls,
        plan: ClientPlan,
        input_ids: list[int],
        pending: Sequence[tuple[int, RemoteTensor]],
        *,
        is_provisional: bool = False,
    ) -> Execution:
        """Send the request; raises as `Client.send` does.

        Args:
            plan: what to execute.
            input_ids: identifiers of all arguments.
            pending: those arguments that the server may not know, with their numbers, ascending.
            is_provisional: whether it begins only once it is confirmed.
        """
        client, prefetcher = plan.client, plan.prefetcher
        base_id = client.new_ids()
        if plan.has_effects:
            client.note_write()
        write_number, place = client.write_number, None
        wants_result = prefetcher is not None and prefetcher.wants_next()
        request = m.ExecutePlan(
            plan_id=plan.plan_id,
            input_ids=input_ids,
            base_id=base_id,
            session_id=runtime.current_session(),
            wants_result=wants_result,
            is_provisional=is_provisional,
        )
        if wants_result and prefetcher is not None and prefetcher.needs_place:
            place = prefetcher.find_place(client)
            request.reply_offset = 0 if place is None else place.offset_bytes
        passed, created = _bring_along(pending, plan, request) if pending else _NOTHING
        connection = client.send(request)
        # From here on the server works, too.
        return cls(plan, connection, input_ids, base_id, wants_result, place, write_number, passed, created)

    @classmethod
    def on(cls, plan: ClientPlan, tensors: Sequence[RemoteTensor]) -> Execution:
        """Execute a plan on tensors; raises as `creations` and `Client.send` do."""
        input_ids = known_ids(plan.client, tensors)
        return cls.send(plan, input_ids, [each for each in enumerate(tensors) if each[1].handle.pending is not None])

    def is_of(self, key: tuple[Any, ...], tensors: Sequence[RemoteTensor]) -> bool:
        """Tell whether it is that of a call with this key on these tensors."""
        return self.plan.key == key and self._input_ids == [tensor.handle.tensor_id for tensor in tensors]

    def confirm(self) -> None:
        """Let a provisional one begin; if that comes too late, `complete` raises WithdrawnError."""
        self._connection.confirm()

    def withdraw(self) -> None:
        """Let a provisional one never begin.

        Raises:
            ConnectionFailedError: the server is gone.
        """
        client = self.plan.client
        self._connection.withdraw()
        try:
            client.receive(self._connection)
        except ConnectionFailedError:
            raise
        except Exception:  # that it was withdrawn, or why it could not have begun
            self._take_back()
            return
        finally:
            client.release(self._connection)
        raise ProtocolError("The server carried out a call that was withdrawn; connect to a server of this version.")

    def complete(
        self, weights: list[RemoteTensor], arguments: Arguments, *, hit: bool, lookup_us: float, is_cached: bool
    ) -> Any:
        """Return what the call returns.

        Args:
            weights: the module's, if the plan needs them.
            arguments: what the call was passed.
            hit: whether the plan was found.
            lookup_us: how long looking for it took.
            is_cached: whether plans are kept.

        Raises:
            WithdrawnError: it was confirmed too late, and did not begin.
            Exception: what else the server reports, as the class that a local call would raise.
            ConnectionFailedError: the server is gone.
        """
        plan, client, connection = self.plan, self.plan.client, self._connection
        try:
            outputs = self._outputs()
            materials = None
            if not plan.is_plain:
                materials = Materials(weights, arguments.originals, outputs, arguments.containers)
            result = outputs[0] if materials is None else plan.recipe(materials)
            if plan.has_effects:
                _note_versions([weights[n] for n in plan.written[0]] + [arguments.tensors[n] for n in plan.written[1]])
            prefetcher = plan.prefetcher
            prefetched = None if prefetcher is None else self._expect_result(prefetcher, outputs[0].handle)
            sent_ns, expected_us, is_hit = connection.sent_ns, plan.expected_us, hit if is_cached else None
            simulate_us, plan_us = (0.0, 0.0) if hit else (plan.simulate_us, plan.plan_us)
            # Whoever waits for the result waits for all that follows.
            reply, payload = client.receive(connection, expected_us)
            if prefetched is not None and prefetcher is not None:
                prefetcher.note_arrival(prefetched, payload)
            if self._created:
                note_created(self._created)
            started_ns, is_launched = reply.started_ns, type(reply) is m.Launched
            finished_ns = client.await_end(connection, expected_us) if is_launched else reply.finished_ns
            # A device that fails until then leaves the caller's containers as they are: the call is made in another way.
            if materials is not None:
                for effect in plan.effects:
                    effect.apply(materials)
        except WithdrawnError:
            self._take_back()
            raise
        finally:
            client.release(connection)
        plan.expected_us = (finished_ns - started_ns) / 1e3
        note_call(sent_ns, started_ns, finished_ns, True, is_hit, lookup_us, simulate_us, plan_us, reply.restore_us)
        return result

    def _take_back(self) -> None:
        """Let what was passed be passed once more, and the place for a result be used again: they were of no use."""
        self._place = None
        for unmade in self._passed.values():
            unmade.was_passed = False

    def _outputs(self) -> list[RemoteTensor]:
        client, tensor_id, outputs = self.plan.client, self._base_id, []
        for meta, number in self.plan.output_metas:
            outputs.append(_make_tensor(RemoteTensor, meta, Handle(client, tensor_id), number))
            tensor_id += 1
        return outputs

    def _expect_result(self, prefetcher: Prefetcher, handle: Handle) -> Prefetched | None:
        handle.prefetcher = prefetcher
        if not self._wants_result:
            return None
        handle.prefetched = prefetched = prefetcher.expect(self._place, self._write_number, self._connection)
        return prefetched


def _bring_along(
    pending: Sequence[tuple[int, RemoteTensor]], plan: ClientPlan, request: m.ExecutePlan
) -> tuple[dict[int, Pending], list[RemoteTensor]]:
    """Let a request have what the server may not know of its arguments: what is passed with it, and what it creates."""
    input_ids = request.input_ids
    passable = _passable(plan, input_ids, pending)
    created = [tensor for number, tensor in pending if number not in passable]
    request.input_ids = [tensor_id for number, tensor_id in enumerate(input_ids) if number not in passable]
    request.passed = [(number, unmade.pass_once()) for number, unmade in passable.items()]
    request.creations = creations(plan.client, created)
    return passable, created


def _passable(
    plan: ClientPlan, input_ids: list[int], pending: Sequence[tuple[int, RemoteTensor]]
) -> dict[int, Pending]:
    """Return those arguments, by number, of which the server needs no more than the elements.

    Most small inputs, a token say, are used once: making and freeing them would take the server as long as many a plan. One
    that is used again is made then.
    """
    session_id = runtime.current_session()
    passable: dict[int, Pending] = {}
    for number, tensor in pending:
        unmade = tensor.handle.pending  # another thread may have made it meanwhile
        # One of another session is not: that may be closed. Two with one handle are not: the call may write to the other.
        if number in plan.kept or unmade is None or unmade.session_id not in (None, session_id):
            continue
        if unmade.can_be_passed and input_ids.count(tensor.handle.tensor_id) == 1:
            passable[number] = unmade
    return passable


def _note_versions(written: list[RemoteTensor]) -> None:
    """Let autograd see that tensors were written to, as it does after an operation in place."""
    increment_version([tensor for tensor in written if not tensor.is_inference()])
