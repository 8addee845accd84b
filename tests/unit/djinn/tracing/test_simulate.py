"""Simulation runs nothing, observes aliasing, and says why it cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from djinn.core import TensorMeta, Trace
from djinn.errors import PlanError
from djinn.tracing import Input, Look, UnplannableError, forget, propagation, simulate


def _simulate(function: Any, *inputs: torch.Tensor, look: Look | None = None) -> Trace:
    with torch.no_grad():
        return simulate(
            lambda fakes: [function(*fakes)],
            [Input(TensorMeta.of(tensor)) for tensor in inputs],
            device_type="cpu",
            look=look,
        )


def test_operations_are_recorded_in_order_without_computing() -> None:
    """Fake tensors have no elements; the trace has the operators."""
    trace = _simulate(lambda x: torch.relu(x + 1) * 2, torch.ones(3))
    assert [node.operator.split(".")[1] for node in trace.nodes] == ["add", "relu", "mul"]
    assert trace.values[trace.outputs[0]].meta == TensorMeta((3,), (1,), torch.float32)


def test_views_share_a_storage() -> None:
    """Aliasing is observed, so that a plan keeps one buffer for both."""
    trace = _simulate(lambda x: (x + 1).view(2, 2).t(), torch.ones(4))
    made = trace.values[trace.num_inputs :]
    assert len({value.storage for value in made}) == 1
    assert made[-1].meta.strides == (1, 2)


@pytest.mark.parametrize("function", [lambda x: x[x > 0], lambda x: x if x.sum() > 0 else -x, torch.nonzero])
def test_what_depends_on_data_is_refused(function: Any) -> None:
    """A plan must hold for all elements."""
    with pytest.raises(UnplannableError):
        _simulate(function, torch.ones(3))


def test_a_value_that_can_be_looked_up_becomes_a_guard() -> None:
    """The trace takes the branch of today's data, and says on what it relies."""
    seen: list[Trace] = []

    def look(trace: Trace) -> bool:
        seen.append(trace)
        return False

    trace = _simulate(lambda x: x if (x.sum() > 0).item() else -x, torch.ones(3), look=look)
    assert [node.operator.split(".")[1] for node in trace.nodes] == ["sum", "gt", "_local_scalar_dense", "neg"]
    assert trace.nodes[2].guard == (False,)
    assert [len(looked.nodes) for looked in seen] == [3]


def test_every_value_that_an_operation_returns_is_looked_up() -> None:
    """Whether or not torch marks it as depending on data."""
    aligned = torch.ops.aten._nested_tensor_from_mask_left_aligned.default
    told: list[bool] = []
    _simulate(lambda x: (told.append(aligned(x, x[:, :, 0] > 0)), x)[1], torch.ones(1, 2, 3), look=lambda trace: True)
    assert told == [True]


@pytest.mark.parametrize("before", [lambda x: x.add_(1), lambda x: x[1:].zero_(), torch.rand_like])
def test_nothing_is_looked_up_after_what_cannot_be_repeated(before: Any) -> None:
    """Running a prefix again would write twice, or draw other numbers than the call."""
    with pytest.raises(UnplannableError, match="depends on data"):
        _simulate(lambda x: (before(x), x.sum().item())[0], torch.ones(3), look=lambda trace: 1.0)


def test_scalars_of_different_types_are_different_operands() -> None:
    """1, 1.0 and True are equal to Python, but promote differently."""
    x = torch.ones(3, dtype=torch.int64)
    dtypes = [
        trace.values[trace.outputs[0]].meta.dtype
        for trace in (_simulate(lambda x, factor=factor: x * factor, x) for factor in (1, 1.0, True))
    ]
    assert dtypes == [torch.int64, torch.float32, torch.int64]


def test_repeated_structure_is_propagated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten equal layers cost what one costs; forgetting makes the next simulation cold again."""
    calls: list[Any] = []
    original = propagation._propagate
    monkeypatch.setattr(propagation, "_propagate", lambda func, *rest: (calls.append(func), original(func, *rest))[1])
    forget()
    _simulate(lambda x: torch.relu(x + 1), torch.ones(3))
    assert len(calls) == 2

    def deep(x: torch.Tensor) -> torch.Tensor:
        for _ in range(10):
            x = torch.relu(x + 1)
        return x

    assert len(_simulate(deep, torch.ones(3)).nodes) == 20
    assert len(calls) == 2
    forget()
    _simulate(deep, torch.ones(3))
    assert len(calls) == 4


def test_changing_an_operands_shape_is_refused() -> None:
    """A plan's values keep their metadata."""
    with pytest.raises(UnplannableError, match="changes the shape"):
        _simulate(lambda x: (x + 1).t_(), torch.ones(2, 3))


def test_a_refusal_that_forward_catches_is_one() -> None:
    """What comes after it would not be computed."""

    def forward(x: torch.Tensor) -> Any:
        try:
            return torch.nonzero(x)
        except UnplannableError:
            return x

    with pytest.raises(UnplannableError, match="nonzero"):
        _simulate(forward, torch.ones(3))


def test_phantoms_that_escape_cannot_be_computed_with() -> None:
    """A forward that keeps its tensors gets an error instead of garbage."""
    kept: list[torch.Tensor] = []
    _simulate(lambda x: (kept.append(x), x + 1)[1], torch.ones(3))
    with pytest.raises(PlanError, match="has no elements"):
        kept[0] + 1
