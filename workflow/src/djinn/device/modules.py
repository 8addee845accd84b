"""Module calls as plans: one message a call where a plan exists, one operation at a time where none can.

A module on the device gets `_compiled_call_impl`, the attribute through which torch itself lets a compiler take a
module's call over. Modules elsewhere are not touched, so native PyTorch pays nothing for sharing a process.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import weakref
from collections import Counter
from time import perf_counter_ns
from typing import Any

import msgspec
import torch

from djinn.client import runtime
from djinn.device.arguments import Arguments
from djinn.device.circumstances import num_function_modes, refusal, settings
from djinn.device.descriptions import Description, Descriptions
from djinn.device.early_calls import EarlyCalls
from djinn.device.execution import Execution
from djinn.device.mutations import is_simulating
from djinn.device.planner import ClientPlan, make_plan
from djinn.device.side_effects import StateError
from djinn.device.tensor import DEVICE
from djinn.device.turns import simulation_turn
from djinn.device.weights import unchanged_weights
from djinn.errors import (
    ConnectionFailedError,
    DjinnError,
    GuardError,
    SharedInputsError,
    UnknownPlanError,
    WithdrawnError,
)
from djinn.interrupts import is_interrupt
from djinn.planning.cache import PlanCache
from djinn.protocol import messages as m
from djinn.tracing import SideEffectError, UnplannableError, forget
from djinn.units import GiB

_MAX_REFUSALS = 1024
_MAX_FAILURES = 3
# What forward changed is another module to plan for, at the price of a simulation each time.
_MAX_SIDE_EFFECTS = 3
# The server may have dropped a plan, or its guard fail; that the next one is void, too, other threads see to.
_MAX_EXECUTIONS = 2


def _drop_on_server(plan: ClientPlan) -> None:
    plan.is_dropped = True
    if plan.client.is_closed or plan.process_id != os.getpid():
        return
    with contextlib.suppress(ConnectionFailedError):  # a server that is gone holds no plans
        plan.client.request(m.DropPlans(plan_ids=[plan.plan_id]))


plan_cache: PlanCache[ClientPlan] = PlanCache(256, 1 * GiB, on_evict=_drop_on_server, on_clear=forget)
fallbacks: Counter[str] = Counter()
_refusals: dict[Any, str] = {}
_failures: Counter[Any] = Counter()
_call_numbers = itertools.count()


class _Call(msgspec.Struct, eq=False):
    """A call that can have a plan.

    Attributes:
        args, kwargs: what it was passed.
        description: of the module.
        arguments: what it was passed, taken apart.
        key: of its plan.
        lookup_us: how long looking for that took.
        plan: as it was found.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    description: Description
    arguments: Arguments
    key: tuple[Any, ...]
    lookup_us: float
    plan: ClientPlan | None = None

    def find_plan(self, early: Execution | None) -> None:
        """Look the plan up; a call that was confirmed has one, whatever other threads drop."""
        if early is not None:
            self.plan = early.plan
            plan_cache.note_hit(self.key)
            return
        start_ns = perf_counter_ns()
        self.plan = plan_cache.get(self.key)
        self.lookup_us += (perf_counter_ns() - start_ns) / 1e3


class PlannedCall:
    """Takes the calls of one module over, which owns it: a module that nobody holds goes at once, with its weights."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = weakref.ref(module)
        self._number = next(_call_numbers)
        self._descriptions = Descriptions()
        self._early_calls = EarlyCalls()
        # By whether the module was in training: counting there says nothing of evaluation.
        self._num_side_effects: Counter[bool] = Counter()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Execute the call's plan, making it first if need be, or run the call operation by operation.

        Raises:
            RuntimeError: the module is gone, and another one with a copy of its attributes was called.
        """
        module = self._module()
        if module is None:
            raise RuntimeError(
                f"A module was called that has the attributes of one that is gone; move it to {DEVICE} again first."
            )
        if is_simulating():
            return module._call_impl(*args, **kwargs)
        call: _Call | None = None
        reason = refusal() or self._refusal(module)
        is_late = reason or not plan_cache.enabled or num_function_modes()
        early = None if is_late else self._early_calls.send(args, kwargs)
        try:
            if not reason:
                call = self._look(module, args, kwargs)
        except UnplannableError as error:
            reason = str(error)
        finally:
            if early is not None:
                key, tensors = ((), []) if call is None else (call.key, call.arguments.tensors)
                if not self._early_calls.settle(early, key, tensors):
                    early = None
        if call is not None:
            call.find_plan(early)
            try:
                return self._execute(module, call, early)
            except UnplannableError as error:
                reason = str(error)
                if isinstance(error, SideEffectError):
                    self._num_side_effects[_is_training(module)] += 1
        fallbacks[reason] += 1
        return module._call_impl(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> PlannedCall:
        """Take over the calls of the module's copy, which copies its attributes."""
        module = self._module()
        return self if module is None else PlannedCall(copy.deepcopy(module, memo))

    def belongs_to(self, module: torch.nn.Module) -> bool:
        """Tell whether it is the calls of this module that are taken over."""
        return self._module() is module

    def _refusal(self, module: torch.nn.Module) -> str:
        if self._num_side_effects and self._num_side_effects[_is_training(module)] > _MAX_SIDE_EFFECTS:
            return "forward keeps changing what the module keeps"
        return ""

    def _look(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
        """Look at a call; raises UnplannableError for one that can have no plan."""
        start_ns = perf_counter_ns()
        description = self._descriptions.current(module)
        reason = self._descriptions.refusal(description)
        if reason is not None:
            raise UnplannableError(reason)
        arguments = Arguments([self._number, description.number, *settings(), len(args), *kwargs])
        arguments.take(args)
        if kwargs:
            arguments.take(kwargs.values())
        if arguments.containers and description.snapshot.keeps_any(arguments.containers):
            raise UnplannableError("an argument is a list, dictionary or object that the module keeps")
        key = tuple(arguments.key)
        return _Call(args, kwargs, description, arguments, key, (perf_counter_ns() - start_ns) / 1e3)

    def _execute(self, module: torch.nn.Module, call: _Call, early: Execution | None) -> Any:
        plan = call.plan
        if early is None and plan is not None and plan.is_stale:
            plan_cache.discard(call.key, plan)
            plan = None
        hit = plan is not None
        for _ in range(_MAX_EXECUTIONS + (early is not None)):
            plan = used = plan or self._plan(module, call)
            # Held until the reply, since what it returns then holds their elements.
            weights = unchanged_weights(module, call.description) if plan.needs_weights else []
            try:
                execution, early = early or self._send(plan, call, hit=hit), None
                return execution.complete(
                    weights, call.arguments, hit=hit, lookup_us=call.lookup_us, is_cached=plan_cache.enabled
                )
            except SharedInputsError as error:
                raise UnplannableError("forward writes to elements that its inputs share") from error
            except WithdrawnError:  # as other threads, or processes, kept this one from confirming it
                self._early_calls.note_in_vain()
            except (UnknownPlanError, GuardError) as error:
                plan_cache.discard(call.key, plan)
                if isinstance(error, GuardError):
                    _note_failure(call.key, "the call's path depends on data that keep changing")
                plan, hit = None, False
            except DjinnError:
                raise
            except Exception as error:  # an operation's own, which forward may catch
                if used.has_effects or is_interrupt(error):
                    raise
                raise UnplannableError(f"an operation failed with {type(error).__name__}") from error
            finally:
                if not plan_cache.enabled:
                    _drop_on_server(used)
        raise UnplannableError("the call's plans were void before they were executed")

    def _send(self, plan: ClientPlan, call: _Call, *, hit: bool) -> Execution:
        execution = Execution.on(plan, call.arguments.tensors)
        if hit:
            self._early_calls.expect(plan, call.args, call.kwargs, call.arguments)
        return execution

    def _plan(self, module: torch.nn.Module, call: _Call) -> ClientPlan:
        with simulation_turn():
            if call.key in _refusals:
                raise UnplannableError(_refusals[call.key])
            made = plan_cache.peek(call.key)  # by another thread, while this one waited
            if made is not None and not made.is_stale:
                return made
            # Another thread changed the module, or its simulation did and what it changed was put back.
            description = self._descriptions.current(module)
            if description.number != call.description.number:
                raise UnplannableError("the module changed before its call was planned")
            try:
                plan = make_plan(
                    runtime.current_client(), module, (call.args, call.kwargs), call.arguments, description.snapshot
                )
            except StateError as error:
                _note_failure(call.key, str(error))
                raise
            except UnplannableError as error:
                _refuse(call.key, str(error))
                raise
            plan_cache.put(call.key, plan, plan.held_bytes)
            self._num_side_effects.pop(_is_training(module), None)
            return plan


def _is_training(module: torch.nn.Module) -> bool:
    return vars(module).get("training") is True


def _refuse(key: tuple[Any, ...], reason: str) -> None:
    if len(_refusals) >= _MAX_REFUSALS:
        _refusals.clear()
    _refusals[key] = reason


def _note_failure(key: tuple[Any, ...], reason: str) -> None:
    """Give up planning a call after a few failures that another attempt could have done without."""
    _failures[key] += 1
    if _failures[key] > _MAX_FAILURES:
        del _failures[key]
        _refuse(key, reason)
