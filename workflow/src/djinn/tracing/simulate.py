"""Run a module on phantoms of the server's device type and keep what it would compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.utils import _pytree as pytree

from djinn.core import TensorMeta, Trace
from djinn.tracing.phantom import Phantom, UnplannableError
from djinn.tracing.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Simulation:
    """A trace and the shape of what the call returned.

    Attributes:
        trace: the operations.
        output_spec: pytree structure of the returned object.
        output_leaves: for each leaf the number of the trace output, or the constant itself wrapped in a 1-tuple.
    """

    trace: Trace
    output_spec: pytree.TreeSpec
    output_leaves: tuple[int | tuple[Any], ...]


def simulate(call: Callable[[list[torch.Tensor]], Any], inputs: list[TensorMeta], *, device_type: str) -> Simulation:
    """Run `call` on phantoms of `inputs` and record it.

    Args:
        call: runs the module; receives the phantoms in order of `inputs`.
        inputs: metadata of every tensor that the call can reach: weights, buffers, arguments.
        device_type: the server's; operators are chosen for it.

    Raises:
        UnplannableError: the call depends on data, or reaches tensors that are not among `inputs`.
    """
    phantoms = [Phantom(meta, device_type) for meta in inputs]
    with Recorder(phantoms, device_type) as recorder:
        try:
            result = call(list(phantoms))
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise UnplannableError(f"{error.func} depends on data") from error
    leaves, spec = pytree.tree_flatten(result)
    return _finish(recorder, leaves, spec)


def _finish(recorder: Recorder, leaves: list[Any], spec: pytree.TreeSpec) -> Simulation:
    tensors: list[torch.Tensor] = []
    described: list[int | tuple[Any]] = []
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            described.append(len(tensors))
            tensors.append(leaf)
        elif leaf is None or isinstance(leaf, bool | int | float | str | torch.dtype):
            described.append((leaf,))
        else:
            raise UnplannableError(f"a returned object of type {type(leaf).__name__}")
    return Simulation(recorder.finish(tensors), spec, tuple(described))


def warm_up(device_type: str) -> None:
    """Import the machinery of fake tensors (about 800 modules), so that no first simulation pays for it."""
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.GELU())
    parameters = {name: TensorMeta.of(value) for name, value in layer.named_parameters()}

    def call(phantoms: list[torch.Tensor]) -> Any:
        state = dict(zip(parameters, phantoms, strict=False))
        return torch.func.functional_call(layer, state, (phantoms[-1],))

    with torch.no_grad():
        simulate(call, [*parameters.values(), TensorMeta((1, 2), (2, 1), torch.float32)], device_type=device_type)
