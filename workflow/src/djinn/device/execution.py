"""One execution of a plan: sent, then completed; the client makes what the call returns while the server computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import is_
from typing import Any

from torch.autograd.graph import increment_version

from djinn.client import runtime
from djinn.device.arguments import Arguments
from djinn.device.dispatch import note_call
from djinn.device.handle import Handle
from djinn.device.planner import ClientPlan
from djinn.device.recipes import Materials
from djinn.device.tensor import RemoteTensor
from djinn.device.transfer import creations, note_created
from djinn.errors import ConnectionFailedError
from djinn.protocol import messages as m


class Execution:
    """A plan that the server was told to execute; either `complete` or `abandon` has to follow.

    Attributes:
        plan: what is executed.
        tensors: on what.
    """

    __slots__ = ("_base_id", "_connection", "_made", "_named", "_prefetched", "plan", "tensors")

    def __init__(self, plan: ClientPlan, tensors: Sequence[RemoteTensor]) -> None:
        """Send the request; raises as `Client.send` does."""
        client = plan.client
        self.plan = plan
        self.tensors = tensors
        self._base_id = client.new_ids()
        if plan.has_effects:
            client.note_write()
        self._prefetched = None if plan.prefetcher is None else plan.prefetcher.ask(client)
        self._named, passed = _divide(plan, tensors)
        self._made = creations(client, self._named)
        self._connection = client.send(
            m.ExecutePlan(
                plan_id=plan.plan_id,
                input_ids=[tensor.handle.tensor_id for tensor in self._named],
                base_id=self._base_id,
                passed=passed,
                creations=self._made,
                session_id=runtime.current_session(),
                wants_result=self._prefetched is not None,
                reply_offset=0 if self._prefetched is None else self._prefetched.offset_bytes,
            )
        )

    def is_of(self, plan: ClientPlan | None, tensors: Sequence[RemoteTensor]) -> bool:
        """Tell whether it is this plan's on these tensors."""
        return self.plan is plan and are_same(self.tensors, tensors)

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
            Exception: what the server reports, as the class that a local call would raise.
            ConnectionFailedError: the server is gone.
        """
        try:
            return self._complete(weights, arguments, hit=hit, lookup_us=lookup_us, is_cached=is_cached)
        finally:
            self.plan.client.release(self._connection)

    def _complete(
        self, weights: list[RemoteTensor], arguments: Arguments, *, hit: bool, lookup_us: float, is_cached: bool
    ) -> Any:
        plan, client, base_id = self.plan, self.plan.client, self._base_id
        outputs = [
            RemoteTensor(meta, Handle(client, base_id + position), number)
            for position, (meta, number) in enumerate(plan.output_metas)
        ]
        materials = Materials(weights, arguments.originals, outputs, arguments.containers)
        result = plan.recipe(materials)
        if plan.has_effects:
            _note_versions([weights[n] for n in plan.written[0]] + [self.tensors[n] for n in plan.written[1]])
        prefetcher, prefetched = plan.prefetcher, self._prefetched
        if prefetcher is not None and prefetched is not None:
            prefetcher.make_host(prefetched)
        reply, payload = client.receive(self._connection, plan.expected_us)
        if self._made:
            note_created(self._named)
        if prefetcher is not None:
            outputs[0].handle.prefetcher = prefetcher
            if prefetched is not None:
                prefetcher.note_arrival(prefetched, payload)
                outputs[0].handle.prefetched = prefetched
        plan.expected_us = (reply.finished_ns - reply.started_ns) / 1e3
        for effect in plan.effects:
            effect.apply(materials)
        simulate_us, plan_us = (0.0, 0.0) if hit else (plan.simulate_us, plan.plan_us)
        times_ns = self._connection.sent_ns, reply.started_ns, reply.finished_ns
        note_call(*times_ns, True, hit if is_cached else None, lookup_us, simulate_us, plan_us, reply.restore_us)
        return result

    def abandon(self) -> None:
        """Take the reply, whatever it is, and free what came with it.

        Raises:
            ConnectionFailedError: the server is gone.
        """
        client = self.plan.client
        try:
            client.receive(self._connection, self.plan.expected_us)
        except ConnectionFailedError:
            raise
        except Exception:  # the server's, about a call that was none
            return
        finally:
            client.release(self._connection)
        for position in range(len(self.plan.output_metas)):
            client.free_later(self._base_id + position)


def _divide(
    plan: ClientPlan, tensors: Sequence[RemoteTensor]
) -> tuple[Sequence[RemoteTensor], list[tuple[int, bytes]]]:
    """Return the arguments that the server has or gets, and the elements of those that it need not have, by number.

    Most small inputs, a token say, are used once: making and freeing them would take the server as long as many a plan. One
    that is used again is made then.
    """
    pending = [n for n, tensor in enumerate(tensors) if tensor.handle.pending is not None and n not in plan.kept]
    if not pending:
        return tensors, []
    session_id = runtime.current_session()
    # Two with one handle have the same elements, and the call may write to the other.
    num_uses = Counter(id(tensor.handle) for tensor in tensors)
    passed: list[tuple[int, bytes]] = []
    for number in pending:
        handle = tensors[number].handle
        if handle.client is plan.client and num_uses[id(handle)] == 1:
            content = _passed_content(handle, session_id)
            if content is not None:
                passed.append((number, content))
    numbers = {number for number, _ in passed}
    return [tensor for number, tensor in enumerate(tensors) if number not in numbers], passed


def _passed_content(handle: Handle, session_id: str | None) -> bytes | None:
    """Return the elements that can be passed of a tensor; None once it was, or if its session is another, which may be closed."""
    pending = handle.pending  # another thread may have made it meanwhile
    if pending is None or pending.session_id not in (None, session_id):
        return None
    return pending.pass_once()


def _note_versions(written: list[RemoteTensor]) -> None:
    """Let autograd see that tensors were written to, as it does after an operation in place."""
    increment_version([tensor for tensor in written if not tensor.is_inference()])


def are_same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Tell whether two sequences have the same objects."""
    return len(some) == len(others) and all(map(is_, some, others))
