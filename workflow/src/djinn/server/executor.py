"""Runs operators and plans for one client at a time and registers what they return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from time import perf_counter_ns
from typing import Any

import msgspec
import torch

from djinn.errors import PlanError, UnknownPlanError
from djinn.memory.vmu import VirtualMemoryUnit
from djinn.planning.plan import MemoryPlan
from djinn.protocol.messages import MAX_OUTPUTS
from djinn.server.binding import Binding
from djinn.server.caller import Caller
from djinn.server.compute import Compute
from djinn.server.operator_calls import KnownCall, KnownCalls
from djinn.server.operator_results import describe
from djinn.server.plan_store import StoredPlan
from djinn.server.results import Results
from djinn.server.slots import Inputs
from djinn.server.store import TensorStore
from djinn.server.table import Entry, TensorTable


class Executed(msgspec.Struct, eq=False):
    """When an operator call began and ended, and its outputs as `Described` has them."""

    started_ns: int
    finished_ns: int
    outputs: list[Any]
    is_sequence: bool = False


class Replayed(msgspec.Struct, eq=False):
    """When a replay began and ended, or was announced, what it returned, and the entries of its arguments."""

    started_ns: int
    finished_ns: int
    results: Results
    arguments: list[Entry]


_NOTHING = nullcontext()
_NOBODY = Caller()


class Executor:
    """Computes; one request at a time, because the Stack segment and the cores are shared."""

    def __init__(self, vmu: VirtualMemoryUnit, store: TensorStore, compute: Compute) -> None:
        self._vmu = vmu
        self._store = store
        self._compute = compute
        self._device = compute.device
        self._calls = KnownCalls(compute.device)
        self._lock = store.computing

    def run_operator(
        self, table: TensorTable, generator: torch.Generator, encoded: bytes, tensor_ids: list[int], base_id: int
    ) -> Executed:
        """Make one operator call and register its new tensors from `base_id`.

        Raises:
            UnsupportedOperatorError: an operator that the server does not run, or results that it does not hold.
            PlanError: unknown tensors, or more outputs than a request may make.
            ProtocolError: bytes that are no call.
        """
        call = self._calls.find(encoded, len(tensor_ids))
        with self._lock:
            operands = table.entries(tensor_ids)
            for number in call.written:
                self._store.make_writable(table, operands[number])
            tensors = [operand.tensor for operand in operands]
            if call.default_dtype is torch.float32 and not call.uses_random_numbers:
                started_ns, result, finished_ns = self._make(call, tensors)
            else:
                with (
                    self.computing(call.default_dtype),
                    self._random_state(generator) if call.uses_random_numbers else _NOTHING,
                ):
                    started_ns, result, finished_ns = self._make(call, tensors)
        is_sequence = isinstance(result, tuple | list)
        results = result if is_sequence else (result,)
        if len(results) > MAX_OUTPUTS:
            raise PlanError(
                f"Operator {call.name} returned {len(results)} tensors; split it so that it returns at most {MAX_OUTPUTS}."
            )
        numbers = {id(tensor): number for number, tensor in enumerate(tensors)}
        described = [describe(call.name, value, numbers) for value in results]
        for tensor_id, (value, _) in enumerate(described, base_id):
            if value is not None:
                self._store.register(table, tensor_id, value, operands)
        return Executed(started_ns, finished_ns, [output for _, output in described], is_sequence)

    def _make(self, call: KnownCall, tensors: list[torch.Tensor]) -> tuple[int, Any, int]:
        started_ns = perf_counter_ns()
        result = self._calls.make(call, tensors)
        self._compute.wait()
        return started_ns, result, perf_counter_ns()

    def bind(self, plan: MemoryPlan) -> Binding:
        """Bind a plan to this executor's memory; raises as `Binding` does, or OutOfMemoryError if it can never fit."""
        self._vmu.stack.check_fits(plan.placement.peak_bytes)
        return Binding(plan, self._vmu.stack.region, self._device, min_adopted_bytes=self._compute.min_adopted_bytes)

    def execute(
        self,
        table: TensorTable,
        generator: torch.Generator,
        stored: StoredPlan,
        input_ids: list[int],
        base_id: int,
        caller: Caller = _NOBODY,
        *,
        passed: Sequence[tuple[int, bytes]] = (),
        fetches_result: bool = False,
    ) -> Replayed:
        """Replay a plan; its outputs have to be registered next.

        Args:
            table: the client's tensors.
            generator: the client's random numbers.
            stored: the plan.
            input_ids: its arguments.
            base_id: identifier that its first output will have.
            caller: whom it is for.
            passed: numbers of further arguments, ascending, with their elements.
            fetches_result: whether to bring the first result's elements to the host.

        Raises:
            PlanError: unknown tensors, elements that no argument can have, or identifiers of outputs that are in use.
            UnknownPlanError: it was dropped, perhaps with one of its weights.
            OutOfMemoryError: the client has no room for its outputs.
            GuardError: the plan relied on other data.
            SharedInputsError: it writes to elements that several inputs share.
            WithdrawnError: the caller did not confirm it.
        """
        binding = stored.binding
        with self._lock:
            if stored.is_dropped:
                raise UnknownPlanError("The plan was dropped while its call waited; plan the call again.")
            arguments = table.entries(input_ids)
            if passed or len(arguments) != stored.num_arguments:
                self._take_passed(stored, arguments, passed)
            table.check_room(base_id, binding.num_outputs)
            if binding.written_inputs:
                self._make_written_own(table, stored, arguments)
            stack = self._vmu.stack
            base = stack.push(stored.plan.placement.peak_bytes)
            assert base == 0, f"the Stack begins at {base}, but plans are bound to its start"
            inputs = Inputs(stored.weights, arguments, self._store.num_moves)
            try:
                if stored.is_self_contained:
                    return self._replay(binding, inputs, caller, fetches_result)
                with (
                    self.computing(stored.plan.trace.default_dtype),
                    self._random_state(generator) if binding.uses_random_numbers else _NOTHING,
                ):
                    return self._replay(binding, inputs, caller, fetches_result)
            finally:
                stack.pop(base)

    def _make_written_own(self, table: TensorTable, stored: StoredPlan, arguments: list[Entry]) -> None:
        """See that what a plan writes to belongs to nobody else; raises as `Overlaps.check` and `make_writable` do."""
        binding, num_weights = stored.binding, len(stored.weights)
        others = binding.overlaps.others(arguments, self._store.num_moves)
        written = [arguments[place] for place in others if num_weights + place in binding.written_inputs]
        for entry in stored.written_weights + written:
            self._store.make_writable(table, entry)
        binding.overlaps.check(stored.weights, arguments, others, self._store.num_moves)

    def _take_passed(self, stored: StoredPlan, named: list[Entry], passed: Sequence[tuple[int, bytes]]) -> None:
        """Insert what was passed among a call's arguments, in places of the plan's."""
        num_given = len(named) + len(passed)
        if num_given != stored.num_arguments:
            raise PlanError(f"A plan of {stored.num_arguments} arguments was given {num_given}; plan the call again.")
        num_weights, last = len(stored.weights), -1
        for number, content in passed:
            if not last < number <= len(named):
                raise PlanError(f"Argument {number} was passed out of order; pass them by ascending number.")
            last = number
            place = stored.binding.place(num_weights + number, len(content))
            if content:
                self._compute.fill(place.tensor, content)
            named.insert(number, place)

    def _replay(self, binding: Binding, inputs: Inputs, caller: Caller, fetches_result: bool) -> Replayed:
        started_ns = perf_counter_ns()
        results = self._compute.replay(binding, inputs, caller, fetches_first=fetches_result)
        if not results.is_announced:
            self._compute.await_results()
        return Replayed(started_ns, perf_counter_ns(), results, inputs.arguments)

    def await_results(self) -> None:
        """Return when a replay whose end was announced has ended.

        Raises:
            RuntimeError: the device failed.
        """
        self._compute.await_results()

    def register_outputs(self, table: TensorTable, stored: StoredPlan, base_id: int, replayed: Replayed) -> None:
        """Register what a replay returned, from `base_id`."""
        operands = [*stored.weights, *replayed.arguments] if stored.binding.returned_inputs else []
        for position, output in enumerate(replayed.results.tensors):
            self._store.register(table, base_id + position, output, operands)

    def has_lost_inputs(self, stored: StoredPlan, replayed: Replayed) -> bool:
        """Tell whether inputs that results view were freed since the replay began."""
        operands = [*stored.weights, *replayed.arguments]
        blocks = [operands[number].block for number in stored.binding.returned_inputs]
        return any(block is not None and block.num_references == 0 for block in blocks)

    def make_ready(self, binding: Binding) -> None:
        """Prepare a binding for its next replay; what cannot be done now is left to that replay, which can report it."""
        if self._lock.acquire(blocking=False):
            try:
                with suppress(RuntimeError, MemoryError):  # torch has no memory left
                    self._compute.make_ready(binding)
            finally:
                self._lock.release()

    @contextmanager
    def computing(self, default_dtype: torch.dtype) -> Iterator[None]:
        """Compute alone, as a process of this default dtype does: there is one for all threads."""
        with self._lock:
            if default_dtype is torch.float32:
                yield
                return
            torch.set_default_dtype(default_dtype)
            try:
                yield
            finally:
                torch.set_default_dtype(torch.float32)

    @contextmanager
    def _random_state(self, generator: torch.Generator) -> Iterator[None]:
        """Let operators without a generator argument draw from a client's own sequence."""
        default = self._compute.default_generator()
        saved = default.get_state()
        default.set_state(generator.get_state())
        try:
            yield
        finally:
            generator.set_state(default.get_state())
            default.set_state(saved)
