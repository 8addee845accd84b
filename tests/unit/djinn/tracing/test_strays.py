"""Constants of a trace are computed in the order of their operations, and nothing else is."""

from __future__ import annotations

from typing import Any

import torch

from djinn.core import TensorMeta, Trace
from djinn.tracing import Input, simulate
from djinn.tracing.strays import compute_constants

_CPU = torch.device("cpu")


def _trace(function: Any) -> Trace:
    with torch.no_grad():
        return simulate(
            lambda phantoms: list(function(*phantoms)),
            [Input(TensorMeta.of(torch.ones(2)))],
            device_type="cpu",
        )


def _computed(trace: Trace) -> list[list[float] | None]:
    constants = compute_constants(trace, _CPU)
    return [constants[number].tolist() if number in constants else None for number in trace.outputs]


def test_what_was_read_before_a_write_keeps_its_elements() -> None:
    """And views see the write."""

    def forward(x: torch.Tensor) -> Any:
        table = torch.zeros(2, device=x.device)
        before, view = table + 1, table[:1]
        table.add_(5)
        return table, before, view

    assert _computed(_trace(forward)) == [[5.0, 5.0], [1.0, 1.0], [5.0]]


def test_what_inputs_or_random_numbers_decide_is_left_out() -> None:
    """Also if it was a constant until it was written to."""

    def forward(x: torch.Tensor) -> Any:
        first, second, third = (torch.zeros(2, device=x.device) for _ in range(3))
        view = first[:1]
        first.add_(x)
        second.uniform_()
        return x * 2, first, view, second, third

    assert _computed(_trace(forward)) == [None, None, None, None, [0.0, 0.0]]


def test_operations_with_several_results_give_each() -> None:
    """By their positions."""
    trace = _trace(lambda x: torch.sort(torch.tensor([2.0, 1.0], device=x.device)))
    assert _computed(trace) == [[1.0, 2.0], [1, 0]]


def test_host_tensors_are_constants() -> None:
    """As they were when the call was simulated."""
    host = torch.tensor([3.0, 4.0])
    trace = _trace(lambda x: (host.clone() * 2 * torch.ones(2, device=x.device),))
    host.zero_()
    assert _computed(trace) == [[6.0, 8.0]]
