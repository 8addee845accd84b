"""What the server asks of the device that it computes on, and the variant for the host itself."""

from __future__ import annotations

from typing import Any

import torch

from djinn.config import Config
from djinn.host_bytes import fill
from djinn.memory.variants import require_device
from djinn.server.binding import Binding
from djinn.server.caller import Caller
from djinn.server.results import Results
from djinn.server.slots import Inputs


class Compute:
    """The host: what is called has been done when the call returns.

    Attributes:
        device: where tensors are made.
        min_adopted_bytes: from which size bound plans take over what an operator without `out=` form allocated, instead
            of copying it; None for never.
    """

    # A copy costs no more than what is spread over the heap instead: measured alike on a layer with results of 393 KB.
    min_adopted_bytes: int | None = None

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    def default_generator(self) -> torch.Generator:
        """Return what operators without a generator argument draw from."""
        return torch.default_generator

    def new_generator(self) -> torch.Generator:
        """Return a generator of a client's own."""
        return torch.Generator(self.device)

    def fill(self, tensor: torch.Tensor, content: bytes) -> None:
        """Write a dense tensor's elements."""
        fill(tensor, content)

    def replay(self, binding: Binding, inputs: Inputs, caller: Caller, *, fetches_first: bool) -> Results:
        """Run a plan on its inputs and return its results, which later replays leave alone; `await_results` has to follow.

        Work may still be queued when this returns, if every later replay is queued behind it. Nothing that could be seen
        happens before the caller's `await_confirmation` returns; raises as that does. With `fetches_first` the first
        result's elements come along.
        """
        binding.prepare(inputs.weights, inputs.arguments, inputs.num_moves)
        caller.await_confirmation()
        binding.run()
        results = binding.take_results()
        if fetches_first and results.content is None and results.tensors:
            results.fetch(self.begin_fetch(results.tensors[0]))
        return results

    def await_results(self) -> None:
        """Return when the last replay has computed its results, and fetched what it had to."""

    def make_ready(self, binding: Binding) -> None:
        """Do what the next `replay` would otherwise do first."""
        binding.make_results_ready()

    def begin_fetch(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a dense host tensor, which has the elements after `wait`."""
        return tensor.contiguous()

    def wait(self) -> None:
        """Return when everything that was called in this thread is done."""

    def stats(self) -> dict[str, Any]:
        """Return what the device says of its memory and of how plans are replayed."""
        return {}


def make_compute(config: Config) -> Compute:
    """Return the configured device.

    Raises:
        ConfigurationError: a device type that this machine or build does not have.
    """
    require_device(config.device_type)
    if config.device_type == "cpu":
        return Compute()
    from djinn.server.cuda_compute import CudaCompute

    return CudaCompute()
