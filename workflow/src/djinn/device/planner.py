"""The cold path of a module call: simulate it, let the server plan it, remember how to rebuild what it returns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import torch
from torch.utils import _pytree as pytree

from djinn.client.client import Client
from djinn.core import DTYPE_CODES, TensorMeta, Trace
from djinn.device.arguments import put_together
from djinn.device.prefetch import MAX_PREFETCHED_BYTES, Prefetcher
from djinn.device.tensor import RemoteTensor
from djinn.device.transfer import creations
from djinn.errors import PlanError, UnsupportedOperatorError
from djinn.protocol import messages as m
from djinn.tracing import Simulation, UnplannableError, simulate

_thread = threading.local()


@dataclass(slots=True)
class ClientPlan:
    """A plan that the server holds, seen from the client.

    Attributes:
        plan_id: its identifier there.
        client: who holds it.
        weights: keeps the tensors alive that the plan is bound to.
        output_metas: metadata of each output of the trace.
        output_inputs: for each output the number of the argument that it is, or None.
        simulation: structure of what the call returns.
        expected_us: how long the last execution took.
        simulate_us: time that the simulation took.
        plan_us: time that the server took to plan and bind.
        peak_bytes: activations of the plan.
        writes_inputs: whether executing it changes any of its inputs.
        prefetcher: for the plan's result, if there is one that could come along.
        lower_bound_bytes: what no plan could undercut.
    """

    plan_id: int
    client: Client
    weights: list[RemoteTensor]
    output_metas: list[TensorMeta]
    output_inputs: list[int | None]
    simulation: Simulation
    expected_us: float
    simulate_us: float
    plan_us: float
    peak_bytes: int
    lower_bound_bytes: int
    writes_inputs: bool
    prefetcher: Prefetcher | None


def is_simulating() -> bool:
    """Tell whether this thread is inside a simulation, where nested calls are part of the outer one."""
    return getattr(_thread, "simulating", False)


def make_plan(
    client: Client,
    module: torch.nn.Module,
    call: tuple[tuple[Any, ...], dict[str, Any]],
    arguments: list[RemoteTensor],
) -> ClientPlan:
    """Simulate `module(*args, **kwargs)` and have it planned.

    Args:
        client: whose server plans.
        module: a module whose tensors are all on the device.
        call: args and kwargs.
        arguments: the tensors in them, in order.

    Raises:
        UnplannableError: the call cannot become a plan, with the reason.
    """
    start_ns = perf_counter_ns()
    names, weights = _weights(module)
    numbers = {id(tensor): number for number, tensor in enumerate(weights)}
    simulation = _simulate(client, module, call, (names, weights, arguments), numbers)
    simulated_ns = perf_counter_ns()
    trace = simulation.trace
    try:
        reply, _ = client.request(_request(trace, weights))
    except (PlanError, UnsupportedOperatorError) as error:
        raise UnplannableError(f"the server refused the plan ({error})") from error
    planned_ns = perf_counter_ns()
    first = len(weights)
    output_metas = [trace.values[index].meta for index in trace.outputs]
    output_inputs = [index - first if first <= index < trace.num_inputs else None for index in trace.outputs]
    return ClientPlan(
        plan_id=reply.plan_id,
        client=client,
        weights=weights,
        output_metas=output_metas,
        output_inputs=output_inputs,
        simulation=simulation,
        expected_us=float("inf"),
        simulate_us=(simulated_ns - start_ns) / 1e3,
        plan_us=(planned_ns - simulated_ns) / 1e3,
        peak_bytes=reply.peak_bytes,
        lower_bound_bytes=reply.lower_bound_bytes,
        writes_inputs=reply.writes_inputs,
        prefetcher=Prefetcher() if _could_come_along(output_metas, output_inputs) else None,
    )


def _could_come_along(metas: list[TensorMeta], inputs: list[int | None]) -> bool:
    """Tell whether a call's result is one small dense tensor of its own."""
    if len(metas) != 1 or inputs[0] is not None or metas[0].storage_offset:
        return False
    num_bytes = metas[0].num_elements * metas[0].dtype.itemsize
    return 0 < num_bytes == metas[0].extent_bytes <= MAX_PREFETCHED_BYTES and metas[0].is_row_major


def _weights(module: torch.nn.Module) -> tuple[list[tuple[str, int]], list[RemoteTensor]]:
    """Return (name, number) for every parameter and buffer, and the distinct tensors that the numbers count."""
    names: list[tuple[str, int]] = []
    weights: list[RemoteTensor] = []
    numbers: dict[int, int] = {}
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        if not isinstance(tensor, RemoteTensor):
            raise UnplannableError(f"{name} lies on {tensor.device}")
        number = numbers.setdefault(id(tensor), len(weights))
        if number == len(weights):
            weights.append(tensor)
        names.append((name, number))
    return names, weights


def _simulate(
    client: Client,
    module: torch.nn.Module,
    call: tuple[tuple[Any, ...], dict[str, Any]],
    tensors: tuple[list[tuple[str, int]], list[RemoteTensor], list[RemoteTensor]],
    numbers: dict[int, int],
) -> Simulation:
    names, weights, arguments = tensors
    inputs = [TensorMeta.of(tensor) for tensor in (*weights, *arguments)]

    def run(phantoms: list[torch.Tensor]) -> Any:
        remaining = iter(phantoms[len(weights) :])
        args, kwargs = put_together(call, lambda _: next(remaining))
        before = _leaf_identities(args, kwargs)
        state = {name: phantoms[number] for name, number in names}
        with _simulating():
            result = torch.func.functional_call(module, state, args, kwargs)
        if _leaf_identities(args, kwargs) != before:
            raise UnplannableError("the call changes its arguments' containers")
        return result

    return simulate(run, inputs, device_type=client.device_type)


def _leaf_identities(args: Any, kwargs: Any) -> tuple[list[int], pytree.TreeSpec]:
    leaves, spec = pytree.tree_flatten((args, kwargs))
    return [id(leaf) for leaf in leaves], spec


@contextmanager
def _simulating() -> Iterator[None]:
    _thread.simulating = True
    try:
        yield
    finally:
        _thread.simulating = False


def _request(trace: Trace, weights: list[RemoteTensor]) -> m.MakePlan:
    return m.MakePlan(
        values=[
            (v.meta.shape, v.meta.strides, DTYPE_CODES[v.meta.dtype], v.meta.storage_offset, v.storage)
            for v in trace.values
        ],
        storage_bytes=list(trace.storage_bytes),
        nodes=[(n.operator, list(n.args), n.kwargs, list(n.outputs)) for n in trace.nodes],
        outputs=list(trace.outputs),
        num_inputs=trace.num_inputs,
        weight_ids=[tensor.handle.tensor_id for tensor in weights],
        creations=creations(weights),
    )
