"""Module calls as plans: one message a call where a plan exists, one operation at a time where none can.

A module on the device gets `_compiled_call_impl`, the attribute through which torch itself lets a compiler take a
module's call over. Modules elsewhere are not touched, so native PyTorch pays nothing for sharing a process.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import Counter
from time import perf_counter_ns
from typing import Any

import torch
from torch.nn.modules import module as torch_module

from djinn.client import runtime
from djinn.device.arguments import Arguments
from djinn.device.dispatch import note_call
from djinn.device.fingerprint import fingerprint, hook_tables
from djinn.device.mutations import Mutations
from djinn.device.planner import Call, ClientPlan, is_simulating, make_plan
from djinn.device.recipes import Materials
from djinn.device.tensor import Handle, RemoteTensor
from djinn.device.transfer import creations, note_created
from djinn.errors import ConnectionFailedError, GuardError, UnknownPlanError
from djinn.planning.cache import PlanCache
from djinn.protocol import messages as m
from djinn.tracing import UnplannableError, forget
from djinn.units import GiB

_MAX_REFUSALS = 1024
_MAX_GUARD_FAILURES = 3


def _drop_on_server(plan: ClientPlan) -> None:
    if plan.client.is_closed:
        return
    with contextlib.suppress(ConnectionFailedError):  # a server that is gone holds no plans
        plan.client.request(m.DropPlans(plan_ids=[plan.plan_id]))


plan_cache: PlanCache[ClientPlan] = PlanCache(256, 1 * GiB, on_evict=_drop_on_server, on_clear=forget)
fallbacks: Counter[str] = Counter()
_refusals: dict[Any, str] = {}
_guard_failures: Counter[Any] = Counter()
# A simulation puts phantoms in a module's place for as long as it runs, so nobody may look at modules meanwhile.
_simulation_lock = threading.RLock()
_call_numbers = itertools.count()


# Equal descriptions of a module get equal small numbers, so that looking a plan up does not hash the whole module.
_fingerprint_numbers: dict[Any, int] = {}
_MAX_FINGERPRINTS = 4096
_unused_fingerprint_numbers = itertools.count()


def _number_of(description: tuple[Any, ...]) -> int:
    number = _fingerprint_numbers.get(description)
    if number is None:
        if len(_fingerprint_numbers) >= _MAX_FINGERPRINTS:
            _fingerprint_numbers.clear()  # numbers are not used again, so this costs plans and never mixes them up
        number = _fingerprint_numbers[description] = next(_unused_fingerprint_numbers)
    return number


class PlannedCall:
    """Takes the calls of one module over."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._number = next(_call_numbers)
        self._seen_mutations = -1
        self._fingerprint_number = -1
        self._hook_tables: list[dict[int, Any]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Execute the call's plan, making it first if need be, or run the call operation by operation."""
        if is_simulating():
            return self._module._call_impl(*args, **kwargs)
        start_ns = perf_counter_ns()
        reason = self._refusal()
        if reason is None:
            try:
                return self._call_planned((args, kwargs), start_ns)
            except UnplannableError as error:
                reason = str(error)
        fallbacks[reason] += 1
        return self._module._call_impl(*args, **kwargs)

    def _refusal(self) -> str | None:
        if torch.is_grad_enabled():
            return "autograd is recording; call under torch.no_grad() for a plan"
        if torch.is_autocast_enabled("cpu"):
            return "autocast is on"
        if Mutations.count != self._seen_mutations:
            self._describe()
        if any(self._hook_tables) or torch_module._has_any_global_hook():
            return "forward hooks are registered"
        return None

    def _describe(self) -> None:
        with _simulation_lock:
            count = Mutations.count
            self._fingerprint_number = _number_of(fingerprint(self._module))
            self._hook_tables = hook_tables(self._module)
            self._seen_mutations = count

    def _call_planned(self, call: Call, start_ns: int) -> Any:
        arguments = Arguments(self._number, self._fingerprint_number, torch.is_inference_mode_enabled())
        args, kwargs = call
        arguments.key.extend((len(args), *kwargs))
        arguments.take(args)
        arguments.take(kwargs.values())
        key = tuple(arguments.key)
        plan = plan_cache.get(key)
        if plan is not None and plan.is_stale:
            plan_cache.discard(key)
            plan = None
        lookup_us = (perf_counter_ns() - start_ns) / 1e3
        hit = plan is not None
        if plan is None:
            plan = self._plan(key, call, arguments)
        try:
            return _execute(plan, arguments, hit=hit, lookup_us=lookup_us)
        except (UnknownPlanError, GuardError) as error:
            plan_cache.discard(key)
            if isinstance(error, GuardError):
                _note_guard_failure(key)
            plan = self._plan(key, call, arguments)
            return _execute(plan, arguments, hit=False, lookup_us=lookup_us)
        finally:
            if not plan_cache.enabled:
                _drop_on_server(plan)

    def _plan(self, key: tuple[Any, ...], call: Call, arguments: Arguments) -> ClientPlan:
        with _simulation_lock:
            if key in _refusals:
                raise UnplannableError(_refusals[key])
            try:
                plan = make_plan(runtime.current_client(), self._module, call, arguments)
            except UnplannableError as error:
                _refuse(key, str(error))
                raise
            plan_cache.put(key, plan, plan.held_bytes)
            return plan


def _refuse(key: tuple[Any, ...], reason: str) -> None:
    if len(_refusals) >= _MAX_REFUSALS:
        _refusals.clear()
    _refusals[key] = reason


def _note_guard_failure(key: tuple[Any, ...]) -> None:
    """Give up planning a call whose path depends on data that keep changing."""
    _guard_failures[key] += 1
    if _guard_failures[key] > _MAX_GUARD_FAILURES:
        del _guard_failures[key]
        _refuse(key, "the call's path depends on data that keep changing")


def _execute(plan: ClientPlan, arguments: Arguments, *, hit: bool, lookup_us: float) -> Any:
    client = plan.client
    base_id = client.new_ids()
    if plan.writes_inputs:
        client.note_write()
    write_number = client.write_number
    wants_result = plan.prefetcher is not None and plan.prefetcher.wants_result()
    tensors = arguments.tensors
    made = creations(tensors)
    client.send(
        m.ExecutePlan(
            plan_id=plan.plan_id,
            input_ids=[tensor.handle.tensor_id for tensor in tensors],
            base_id=base_id,
            creations=made,
            session_id=runtime.current_session(),
            wants_result=wants_result,
        )
    )
    # The server computes meanwhile.
    outputs = [
        RemoteTensor(meta, Handle(client, base_id + position)) for position, meta in enumerate(plan.output_metas)
    ]
    materials = Materials([*plan.weights, *arguments.originals], outputs, arguments.containers)
    result = plan.recipe(materials)
    reply, payload = client.receive(plan.expected_us)
    if made:
        note_created(tensors)
    if plan.prefetcher is not None:
        handle, meta = outputs[0].handle, plan.output_metas[0]
        handle.prefetcher = plan.prefetcher
        if wants_result:
            handle.prefetched = plan.prefetcher.keep(meta, payload, write_number)
    plan.expected_us = (reply.finished_ns - reply.started_ns) / 1e3
    for effect in plan.effects:
        effect.apply(materials)
    simulate_us, plan_us = (0.0, 0.0) if hit else (plan.simulate_us, plan.plan_us)
    cache_hit = hit if plan_cache.enabled else None
    times_ns = client.sent_ns, reply.started_ns, reply.finished_ns
    note_call(*times_ns, True, cache_hit, lookup_us, simulate_us, plan_us, reply.restore_us)
    return result
