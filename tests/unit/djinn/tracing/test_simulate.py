"""Simulation runs nothing, observes aliasing, and says why it cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from djinn.core import TensorMeta
from djinn.tracing import UnplannableError, simulate


def _simulate(function: Any, *inputs: torch.Tensor) -> Any:
    with torch.no_grad():
        return simulate(lambda fakes: function(*fakes), [TensorMeta.of(tensor) for tensor in inputs], device_type="cpu")


def test_operations_are_recorded_in_order_without_computing() -> None:
    """Fake tensors have no elements; the trace has the operators."""
    trace = _simulate(lambda x: torch.relu(x + 1) * 2, torch.ones(3)).trace
    assert [node.operator.split(".")[1] for node in trace.nodes] == ["add", "relu", "mul"]
    assert trace.values[trace.outputs[0]].meta == TensorMeta((3,), (1,), torch.float32)


def test_views_share_a_storage() -> None:
    """Aliasing is observed, so that a plan keeps one buffer for both."""
    trace = _simulate(lambda x: (x + 1).view(2, 2).t(), torch.ones(4)).trace
    made = trace.values[trace.num_inputs :]
    assert len({value.storage for value in made}) == 1
    assert made[-1].meta.strides == (1, 2)


@pytest.mark.parametrize("function", [lambda x: x[x > 0], lambda x: x if x.sum() > 0 else -x, torch.nonzero])
def test_what_depends_on_data_is_refused(function: Any) -> None:
    """A plan must hold for all elements."""
    with pytest.raises(UnplannableError):
        _simulate(function, torch.ones(3))
