"""What a call computes several times is computed once, unless its results could be told apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from djinn.core import TensorMeta, Trace, ValueRef
from djinn.server.operators import resolve
from djinn.server.subexpressions import share_subexpressions
from djinn.tracing import Input, simulate

_META = TensorMeta((4,), (1,), torch.float32)


def _trace(function: Any) -> Trace:
    with torch.no_grad():
        return simulate(lambda phantoms: list(function(*phantoms)), [Input(_META), Input(_META)], device_type="cpu")


def _operators(function: Any) -> list[str]:
    return [node.operator.split(".")[1] for node in share_subexpressions(_trace(function)).nodes]


def _run(trace: Trace, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Interpret a trace; what a value is after its definition depends on its storage alone, as in a bound plan."""
    storages = {trace.values[index].storage: tensor.clone() for index, tensor in enumerate(inputs)}

    def tensor(index: int) -> torch.Tensor:
        value = trace.values[index]
        base = storages[value.storage]
        return base.as_strided(value.meta.shape, value.meta.strides, value.meta.storage_offset)

    def operand(item: Any) -> Any:
        if isinstance(item, ValueRef):
            return tensor(item.index)
        return [operand(one) for one in item] if isinstance(item, tuple | list) else item

    for node in trace.nodes:
        kwargs = {name: operand(item) for name, item in node.kwargs.items()}
        result = resolve(node.operator).call(*map(operand, node.args), **kwargs)
        for index, made in zip(node.outputs, result if isinstance(result, list | tuple) else [result], strict=True):
            assert index is not None
            storages.setdefault(trace.values[index].storage, made)
    return [tensor(index).clone() for index in (*trace.outputs, *range(trace.num_inputs))]


def test_equal_operations_on_equal_operands_are_one() -> None:
    """As in layers that each make the same mask; a chain of them as well."""
    assert _operators(lambda x, y: [(x + y).exp() * (x + y).exp()]) == ["add", "exp", "mul"]


def test_results_that_are_written_to_alike_are_one() -> None:
    """A mask is made of zeros and then filled in place."""

    def mask(x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x).masked_fill_(x > 0, -1.0)

    assert _operators(lambda x, y: [mask(x) + y, mask(x) * y]) == ["zeros_like", "gt", "masked_fill_", "add", "mul"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: [x + 1, x + 1],
        lambda x, y: [(x + 1)[1:], (x + 1)[1:]],
        lambda x, y: [x * 0.0 + y, x * -0.0 + y],
        lambda x, y: [(x * 1).view(torch.int32) * 1, (x * 1.0).exp()],
        lambda x, y: [torch.rand_like(x) * y, torch.rand_like(x) * y],
        lambda x, y: [torch.exp(x) * 2, x.add_(y), torch.exp(x) * 2],
        lambda x, y: [(x + y).mul_(2) * x, (x + y).mul_(3) * x],
        lambda x, y: [(x + y).mul_(2) * x, (x + y) * x],
        lambda x, y: [torch.add(x, y)[:2].mul_(2), torch.add(x, y)[2:].mul_(2)],
        lambda x, y: [x[:2].exp() * 2, x[2:].exp() * 2],
    ],
    ids=[
        "both returned",
        "both returned as views",
        "zeros of two signs",
        "scalars of two types",
        "random",
        "an operand changed between",
        "changed otherwise",
        "one changed, one not",
        "other parts changed",
        "other parts read",
    ],
)
def test_results_that_can_be_told_apart_stay_apart(function: Any) -> None:
    """Every operation is still there."""
    assert _operators(function) == [node.operator.split(".")[1] for node in _trace(function).nodes]


_UNARY = ("exp", "neg", "exp_", "neg_")
_BINARY = ("add", "mul", "add_", "mul_")
_STEP = st.tuples(st.sampled_from(_UNARY + _BINARY), st.integers(0, 5), st.integers(0, 5), st.booleans())


@settings(max_examples=200, deadline=None)
@given(st.lists(_STEP, min_size=2, max_size=14), st.lists(st.integers(0, 20), min_size=1, max_size=3))
def test_any_program_computes_the_same(steps: list[tuple[str, int, int, bool]], returned: list[int]) -> None:
    """Whatever is written in place, viewed and returned: results and inputs are bit for bit those of the whole trace."""

    def program(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        tensors = [x, y]
        for name, first, second, takes_part in steps:
            one, other = tensors[first % len(tensors)], tensors[second % len(tensors)]
            one = one[:4].flip(0)[:] if takes_part and not name.endswith("_") else one[:]
            tensors.append(getattr(one, name)(*(() if name in _UNARY else (other,))))
        return [tensors[number % len(tensors)] for number in returned]

    trace = _trace(program)
    inputs = [torch.tensor([0.5, -0.0, 2.0, -1.0]), torch.tensor([0.1, 0.2, -0.3, 0.4])]
    expected, actual = _run(trace, inputs), _run(share_subexpressions(trace), inputs)
    for before, after in zip(expected, actual, strict=True):
        assert torch.equal(before.view(torch.int32), after.view(torch.int32))
