"""A bound plan replays into planned memory: exactly, without allocating, and never over what somebody holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from djinn.core import TensorMeta
from djinn.errors import GuardError, PlanError
from djinn.memory.host_region import HostRegion
from djinn.planning.plan import make_plan
from djinn.server.binding import Binding
from djinn.server.steps import LetGo
from djinn.server.table import Entry
from djinn.tracing import Input, simulate
from djinn.units import MiB


def _bind(function: Any, *inputs: torch.Tensor, look: Any = None, min_adopted_bytes: int | None = None) -> Binding:
    with torch.no_grad():
        trace = simulate(
            lambda phantoms: [function(*phantoms)],
            [Input(TensorMeta.of(tensor)) for tensor in inputs],
            device_type="cpu",
            look=look,
        )
    return Binding(make_plan(trace), HostRegion("Stack", MiB), torch.device("cpu"), min_adopted_bytes=min_adopted_bytes)


def _replay(binding: Binding, *inputs: torch.Tensor) -> torch.Tensor:
    binding.prepare([], [Entry(tensor) for tensor in inputs], 0)
    with torch.inference_mode():
        for call, args, kwargs in binding.calls:
            call(*args, **kwargs)
        return binding.take_results().tensors[0]


def _perceptron(x: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return functional.softmax(torch.tanh(x @ first).transpose(0, 1).contiguous().t() @ second, dim=-1)


def test_an_adopted_result_is_the_callers_alone() -> None:
    """Its memory goes with it, before the plan is replayed again."""
    operand = torch.randn(4, 8)
    binding = _bind(_normed_twice, operand, min_adopted_bytes=0)
    results = [_replay(binding, operand), torch.empty(4, 8)]
    storages = [result.untyped_storage() for result in results]
    adopted, alone = (torch._C._storage_Use_Count(storage._cdata) for storage in storages)
    assert adopted == alone


def test_views_cost_no_call() -> None:
    """A transpose is folded into the operands of its readers."""
    operands = torch.randn(4, 8), torch.randn(8, 16), torch.randn(16, 8)
    binding = _bind(_perceptron, *operands)
    assert len(binding.calls) == 5
    assert torch.equal(_replay(binding, *operands), _perceptron(*operands))


def _mask(x: torch.Tensor, _first: torch.Tensor, _second: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x).masked_fill_(x > x * x, -1.0) * x.t().contiguous().clone().t()


def _normed_twice(x: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(functional.layer_norm(x, (8,)) * 2, (8,))


@pytest.mark.parametrize(("min_adopted_bytes", "num_adopted"), [(128, 2), (129, 0), (None, 0)])
def test_results_stay_where_they_were_allocated_from_a_size_on(min_adopted_bytes: int | None, num_adopted: int) -> None:
    """Up to their last use, if no operator writes them into planned buffers; what is returned stays as long as it is held."""
    operand = torch.randn(4, 8)
    binding = _bind(_normed_twice, operand, min_adopted_bytes=min_adopted_bytes)
    first = _replay(binding, operand)
    second = _replay(binding, 3 * operand)
    assert torch.equal(first, _normed_twice(operand))
    assert torch.equal(second, _normed_twice(3 * operand))
    # The second one is returned, so there is no last use.
    assert sum(isinstance(call, LetGo) for call, _, _ in binding.calls) == num_adopted // 2
    assert (binding.held_bytes % 2_048 == 0) == bool(num_adopted)  # else the binding holds an output of 128 bytes


@pytest.mark.parametrize("function", [_perceptron, _mask], ids=["out forms", "fills and copies"])
def test_a_warm_replay_allocates_nothing(function: Any) -> None:
    """Where operators write into given tensors, every buffer was planned."""
    operands = torch.randn(4, 8), torch.randn(8, 16), torch.randn(16, 8)
    binding = _bind(function, *operands)
    assert torch.equal(_replay(binding, *operands), function(*operands))
    binding.prepare([], [Entry(tensor) for tensor in operands], 0)
    with torch.inference_mode(), torch.profiler.profile(profile_memory=True) as profile:
        for call, args, kwargs in binding.calls:
            call(*args, **kwargs)
    allocated = {event.key: event.self_cpu_memory_usage for event in profile.key_averages()}
    assert {key: num_bytes for key, num_bytes in allocated.items() if num_bytes > 0} == {}


def test_results_that_are_held_are_not_overwritten() -> None:
    """Not even when only a view of one is; memory that nobody holds is used again."""
    x = torch.ones(4)
    binding = _bind(lambda x: x + 1, x)
    held = _replay(binding, x)[1:]
    later = _replay(binding, x * 5)
    assert held.tolist() == [2, 2, 2]
    address = later.data_ptr()
    del later
    assert _replay(binding, x).data_ptr() == address


def test_a_guard_stops_a_replay_that_would_take_another_branch() -> None:
    """Before anything is written."""

    def branch(x: torch.Tensor) -> torch.Tensor:
        return x.add_(1) if (x.sum() > 0).item() else x

    x = torch.ones(2)
    binding = _bind(branch, x, look=lambda trace: True)
    assert _replay(binding, x).tolist() == [2, 2]
    negative = -torch.ones(2)
    with pytest.raises(GuardError, match="returning True, but it returned False"):
        _replay(binding, negative)
    assert negative.tolist() == [-1, -1]


@pytest.mark.parametrize("other", [torch.ones(3), torch.ones(2, dtype=torch.float64), torch.ones(4)[::2]])
def test_inputs_of_other_metadata_are_refused(other: torch.Tensor) -> None:
    """A plan's buffers fit what was planned for alone."""
    binding = _bind(lambda x: x + 1, torch.ones(2))
    with pytest.raises(PlanError, match="plan the call again"):
        _replay(binding, other)
