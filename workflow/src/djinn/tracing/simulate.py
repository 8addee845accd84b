"""Run a module on phantoms of the server's device type and keep what it would compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from djinn.core import TensorMeta, Trace
from djinn.errors import ConnectionFailedError
from djinn.interrupts import is_interrupt
from djinn.tracing.phantom import Phantom, UnplannableError, noting_refusals
from djinn.tracing.recorder import Look, Recorder


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor that a call can reach.

    Attributes:
        meta: its metadata.
        requires_grad: whether it does; torch chooses among equivalent matrix products by that.
        is_read_only: whether a call that writes to it cannot become a plan.
        original: the tensor itself, where the call reaches it without being passed it; operations on it are recorded as
            operations on its phantom.
    """

    meta: TensorMeta
    requires_grad: bool = False
    is_read_only: bool = False
    original: torch.Tensor | None = None


def simulate(
    call: Callable[[list[torch.Tensor]], list[torch.Tensor]],
    inputs: list[Input],
    *,
    device_type: str,
    device: torch.device | None = None,
    composites: Mapping[Any, Callable[..., Any]] | None = None,
    look: Look | None = None,
) -> Trace:
    """Run `call` on phantoms of `inputs` and record it.

    Args:
        call: runs the module; receives the phantoms in order of `inputs` and returns those that the trace shall output.
        inputs: every tensor that the call can reach: weights, buffers, arguments.
        device_type: the server's; operators are chosen for it.
        device: where the phantoms seem to be; None is the server's.
        composites: operators that consist of others in another way there than torch knows, as functions of their operands
            that may return NotImplemented.
        look: finds out what an operation that depends on data returns now; None refuses such calls.

    Raises:
        UnplannableError: the call depends on data that nobody can look up, reaches tensors that are not among `inputs`, or
            fails; running it operation by operation shows whether it fails for phantoms alone.
        ConnectionFailedError: looking failed for want of a server.
    """
    device = torch.device(device_type) if device is None else device
    phantoms = [Phantom(item.meta, device, requires_grad=item.requires_grad) for item in inputs]
    recorder = Recorder(
        phantoms,
        device_type,
        look=look,
        read_only={number for number, item in enumerate(inputs) if item.is_read_only},
        originals={number: item.original for number, item in enumerate(inputs) if item.original is not None},
        composites=composites or {},
    )
    with _all_modes_ended(), recorder, noting_refusals(recorder.refusals):
        try:
            outputs = call(list(phantoms))
        except (UnplannableError, ConnectionFailedError):
            raise
        except Exception as error:  # whatever a model's own code may raise
            if is_interrupt(error):
                raise
            raise UnplannableError(f"its simulation raised {type(error).__name__}: {error}") from error
        finally:
            recorder.end()
    if recorder.refusals:  # forward caught it, or a thread of its own ended with it
        raise recorder.refusals[0]
    return recorder.finish(outputs)


@contextmanager
def _all_modes_ended() -> Iterator[None]:
    """Leave torch's stack of dispatch modes as it was: an interrupt may come between a mode's entry and its scope."""
    depth = torch._C._len_torch_dispatch_stack()
    try:
        yield
    finally:
        while torch._C._len_torch_dispatch_stack() > depth:
            torch._C._pop_torch_dispatch_stack(None)


def warm_up(device_type: str) -> None:
    """Simulate a small module, so that no first simulation pays for what torch imports and builds for it."""
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.GELU())
    parameters = {name: TensorMeta.of(value) for name, value in layer.named_parameters()}

    def call(phantoms: list[torch.Tensor]) -> list[torch.Tensor]:
        state = dict(zip(parameters, phantoms, strict=False))
        return [torch.func.functional_call(layer, state, (phantoms[-1],))]

    with torch.no_grad():
        inputs = [*parameters.values(), TensorMeta((1, 2), (2, 1), torch.float32)]
        simulate(call, [Input(meta) for meta in inputs], device_type=device_type)
