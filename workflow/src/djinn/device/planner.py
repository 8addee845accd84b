"""The cold path of a module call: simulate it, let the server plan it, remember how to rebuild what it returns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import torch

from djinn.client import runtime
from djinn.client.client import Client
from djinn.core import DTYPE_CODES, TensorMeta, Trace, default_dtype_code
from djinn.device.arguments import Arguments, copy_containers
from djinn.device.composites import COMPOSITES
from djinn.device.meta_numbers import number_of
from djinn.device.mutations import simulating
from djinn.device.prefetch import MAX_PREFETCHED_BYTES, Prefetcher
from djinn.device.recipes import FIRST_OUTPUT, Describer, Effect, Recipe
from djinn.device.side_effects import without_side_effects
from djinn.device.snapshot import Snapshot
from djinn.device.tensor import DEVICE, RemoteTensor
from djinn.device.transfer import content_of, creations, note_created
from djinn.device.weights import weights_of
from djinn.errors import ConnectionFailedError, OutOfMemoryError
from djinn.interrupts import is_interrupt
from djinn.protocol import messages as m
from djinn.tracing import Input, SideEffectError, UnplannableError, simulate, written_storages

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(slots=True)
class ClientPlan:
    """A plan that the server holds, seen from the client; it goes with any of the weights that it is bound to.

    Attributes:
        plan_id: its identifier there.
        key: of the calls that it is for.
        client: who holds it.
        module_name: class of the module that is called.
        num_operations: length of its trace.
        output_metas: metadata of each output of the trace, with the number that stands for it.
        recipe: rebuilds what the call returns.
        effects: what the call does to the containers that it is passed.
        is_plain: whether the call returns the first output and has no such effects.
        expected_us: how long the last execution took.
        simulate_us: time that the simulation took.
        plan_us: time that the server took to plan and bind.
        peak_bytes: activations of the plan.
        lower_bound_bytes: what no plan could undercut.
        held_bytes: what the server holds for it.
        has_effects: whether executing it changes any of its inputs, or the random numbers that follow.
        prefetcher: for the plan's result, if there is one that could come along.
        needs_weights: whether a call has to have the weights at hand: it returns some, or elements of them, or writes to them.
        written: numbers of the weights, and of the arguments, that the call writes to.
        kept: numbers of the arguments that the server has to keep: written ones, and those that results view.
        host_reads: host tensors on whose elements the plan relies, with what `_state` returned of each.
        is_dropped: whether the server holds it no more.
        process_id: of the process that made it; a forked one may execute it.
    """

    plan_id: int
    key: tuple[Any, ...]
    client: Client
    module_name: str
    num_operations: int
    output_metas: list[tuple[TensorMeta, int]]
    recipe: Recipe
    effects: tuple[Effect, ...]
    is_plain: bool
    expected_us: float
    simulate_us: float
    plan_us: float
    peak_bytes: int
    lower_bound_bytes: int
    held_bytes: int
    has_effects: bool
    prefetcher: Prefetcher | None
    needs_weights: bool
    written: tuple[list[int], list[int]]
    kept: frozenset[int]
    host_reads: list[tuple[torch.Tensor, Any]]
    is_dropped: bool = False
    process_id: int = field(default_factory=os.getpid)

    @property
    def may_be_early(self) -> bool:
        """Whether nothing but the module and the arguments has to be looked at before it is executed."""
        return self.client.can_confirm and not (self.needs_weights or self.host_reads)

    @property
    def is_stale(self) -> bool:
        """Tell whether a host tensor was written to: by NumPy, say, so that its version does not tell."""
        return bool(self.host_reads) and any(_state(tensor) != state for tensor, state in self.host_reads)


def make_plan(
    client: Client, module: torch.nn.Module, call: Call, arguments: Arguments, snapshot: Snapshot
) -> ClientPlan:
    """Simulate `module(*args, **kwargs)` and have it planned.

    Args:
        client: whose server plans.
        module: a module whose tensors are all on the device.
        call: args and kwargs.
        arguments: what they consist of.
        snapshot: what the module keeps.

    Raises:
        UnplannableError: the call cannot become a plan, with the reason.
    """
    start_ns = perf_counter_ns()
    simulation = _Simulation(client, module, call, arguments, snapshot)
    with without_side_effects(snapshot), _without_gradients(simulation.weights):
        trace = simulation.run()
    simulated_ns = perf_counter_ns()
    reply = _planned(client, trace, simulation.weights)
    planned_ns = perf_counter_ns()
    output_metas = [trace.values[index].meta for index in trace.outputs]
    output_storages = [trace.values[index].storage for index in trace.outputs]
    written = _written(trace, len(simulation.weights))
    owns_output = bool(trace.outputs) and output_storages[0] >= trace.num_inputs
    return ClientPlan(
        plan_id=reply.plan_id,
        key=tuple(arguments.key),
        client=client,
        module_name=type(module).__qualname__,
        num_operations=len(trace.nodes),
        output_metas=[(meta, number_of(meta)) for meta in output_metas],
        recipe=simulation.recipe,
        effects=simulation.effects,
        is_plain=simulation.recipe == FIRST_OUTPUT and not simulation.effects,
        expected_us=float("inf"),
        simulate_us=(simulated_ns - start_ns) / 1e3,
        plan_us=(planned_ns - simulated_ns) / 1e3,
        peak_bytes=reply.peak_bytes,
        lower_bound_bytes=reply.lower_bound_bytes,
        held_bytes=reply.held_bytes,
        has_effects=reply.has_effects,
        prefetcher=Prefetcher(output_metas[0]) if owns_output and _could_come_along(output_metas) else None,
        needs_weights=bool(
            simulation.returns_weights or written[0] or any(s < len(simulation.weights) for s in output_storages)
        ),
        written=written,
        kept=frozenset(written[1]).union(s - len(simulation.weights) for s in output_storages if s < trace.num_inputs),
        host_reads=[(tensor, _state(tensor)) for tensor in trace.host_reads],
    )


@contextmanager
def _without_gradients(weights: list[RemoteTensor]) -> Iterator[None]:
    """Refuse a simulation that writes gradients, which would be of phantoms, and undo that.

    Raises:
        SideEffectError: there are other gradients afterwards.
    """
    gradients = [weight.grad for weight in weights]
    try:
        yield
    finally:
        changed = [(w, g) for w, g in zip(weights, gradients, strict=True) if w.grad is not g]
        for weight, gradient in changed:
            weight.grad = gradient
    if changed:
        raise SideEffectError("forward writes gradients")


def _planned(client: Client, trace: Trace, weights: list[RemoteTensor]) -> m.Planned:
    try:
        reply, _ = client.request(_request(client, trace, weights))
    except (ConnectionFailedError, OutOfMemoryError):
        raise
    except Exception as error:  # whatever an operator's kernel or form may raise
        if is_interrupt(error):
            raise
        raise UnplannableError(f"the server refused the plan ({error})") from error
    assert isinstance(reply, m.Planned), f"the server answered a trace with {type(reply).__name__}"
    note_created(weights)
    return reply


def _state(tensor: torch.Tensor) -> Any:
    """Return all that operations see of a host tensor."""
    return TensorMeta.of(tensor), content_of(tensor)


def _written(trace: Trace, num_weights: int) -> tuple[list[int], list[int]]:
    storages = [value.storage for value in trace.values]
    written = set().union(*(written_storages(node, storages) for node in trace.nodes))
    numbers = [number for number, storage in enumerate(storages[: trace.num_inputs]) if storage in written]
    return [n for n in numbers if n < num_weights], [n - num_weights for n in numbers if n >= num_weights]


def _could_come_along(metas: list[TensorMeta]) -> bool:
    """Tell whether a call's result is one small dense tensor."""
    if len(metas) != 1 or metas[0].storage_offset:
        return False
    num_bytes = metas[0].num_elements * metas[0].dtype.itemsize
    return 0 < num_bytes == metas[0].extent_bytes <= MAX_PREFETCHED_BYTES and metas[0].is_row_major


class _Simulation:
    """One simulated call: its trace, and recipes for what it returns and changes."""

    recipe: Recipe
    effects: tuple[Effect, ...]
    returns_weights: bool

    def __init__(
        self, client: Client, module: torch.nn.Module, call: Call, arguments: Arguments, snapshot: Snapshot
    ) -> None:
        self._client = client
        self._module = module
        self._call = call
        self._arguments = arguments
        self._snapshot = snapshot
        self.weights = weights_of(module)

    def run(self) -> Trace:
        """Simulate.

        Raises:
            UnplannableError: the call cannot become a plan.
        """
        arguments = self._arguments
        if {id(weight) for weight in self.weights} & {id(tensor) for tensor in arguments.tensors}:
            raise UnplannableError("a weight of the module is among the arguments")
        inputs = [Input(TensorMeta.of(weight), weight.requires_grad, original=weight) for weight in self.weights]
        for number, tensor in enumerate(arguments.tensors):
            inputs.append(Input(TensorMeta.of(tensor), tensor.requires_grad, is_read_only=number in arguments.hosts))
        return simulate(
            self._run_module,
            inputs,
            device_type=self._client.device_type,
            device=torch.device(DEVICE),
            composites=COMPOSITES,
            look=self._look,
        )

    def _run_module(self, phantoms: list[torch.Tensor]) -> list[torch.Tensor]:
        remaining = iter(phantoms[len(self.weights) :])
        args, kwargs = self._call
        values, containers = copy_containers(self._arguments, [*args, *kwargs.values()], lambda _: next(remaining))
        describer = Describer(phantoms, self.weights, containers, self._snapshot)
        named = dict(zip(kwargs, values[len(args) :], strict=True))
        with simulating():  # what a class does in a `__call__` of its own goes on around the plan
            result = self._module._call_impl(*values[: len(args)], **named)
        self.recipe = describer.describe(result)
        self.effects = describer.effects()
        self.returns_weights = describer.returns_weights
        return describer.outputs

    def _look(self, trace: Trace) -> Any:
        """Run a trace on the call's real arguments and return what its last operation returns."""
        reply = _planned(self._client, trace, self.weights)
        try:
            tensors = self._arguments.tensors
            done, _ = self._client.request(
                m.ExecutePlan(
                    plan_id=reply.plan_id,
                    input_ids=[tensor.handle.tensor_id for tensor in tensors],
                    base_id=self._client.new_ids(),
                    creations=creations(self._client, tensors),
                    session_id=runtime.current_session(),
                )
            )
            note_created(tensors)
            return done.learned
        finally:
            self._client.request(m.DropPlans(plan_ids=[reply.plan_id]))


def _request(client: Client, trace: Trace, weights: list[RemoteTensor]) -> m.MakePlan:
    return m.MakePlan(
        values=[
            (v.meta.shape, v.meta.strides, DTYPE_CODES[v.meta.dtype], v.meta.storage_offset, v.storage)
            for v in trace.values
        ],
        storage_bytes=list(trace.storage_bytes),
        nodes=[(n.operator, list(n.args), n.kwargs, list(n.outputs), n.guard) for n in trace.nodes],
        outputs=list(trace.outputs),
        num_inputs=trace.num_inputs,
        weight_ids=[tensor.handle.tensor_id for tensor in weights],
        constants=[(index, content_of(tensor)) for index, tensor in trace.constants],
        default_dtype_code=default_dtype_code(trace.default_dtype),
        creations=creations(client, weights),
    )
