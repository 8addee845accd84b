"""What reads no tensor is computed once, unless each call needs its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from djinn.core import TensorMeta, Trace
from djinn.server.folding import fold_constants
from djinn.tracing import Input, simulate

_CPU = torch.device("cpu")


def _folded(function: Any) -> Trace:
    with torch.no_grad():
        trace = simulate(
            lambda phantoms: [function(*phantoms)], [Input(TensorMeta((4,), (1,), torch.float32))], device_type="cpu"
        )
    return fold_constants(trace, _CPU)


def _operators(trace: Trace) -> list[str]:
    return [node.operator.split(".")[1] for node in trace.nodes]


def test_positions_and_masks_become_constants() -> None:
    """With the values that each call would compute."""
    trace = _folded(lambda x: x + torch.arange(4) * torch.full((4,), 2.0))
    assert _operators(trace) == ["mul", "add"]
    assert [content.tolist() for _, content in trace.constants] == [[0, 1, 2, 3], [2, 2, 2, 2]]


@pytest.mark.parametrize(
    ("function", "operators"),
    [
        (lambda x: torch.zeros(4), ["zeros"]),
        (lambda x: torch.zeros(4)[1:], ["zeros", "slice"]),
        (lambda x: torch.zeros(4).add_(x) + 1, ["zeros", "add_", "add"]),
        (lambda x: torch.rand(4) + x, ["rand", "add"]),
        (lambda x: torch.zeros(1 << 20)[:4] + x, ["zeros", "slice", "add"]),
    ],
    ids=["returned", "returned as a view", "written to", "random", "large"],
)
def test_what_each_call_needs_for_itself_is_computed_at_each_call(function: Any, operators: list[str]) -> None:
    """Or one caller's result would be another's."""
    trace = _folded(function)
    assert _operators(trace) == operators
    assert not trace.constants
