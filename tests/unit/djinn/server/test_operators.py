"""What stands in for an overload computes what that does, with the arguments of its schema."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from djinn.server.operators import _FUNCTIONS, function_of, resolve

aten = torch.ops.aten
_A, _B = torch.randn(2, 3, generator=torch.Generator().manual_seed(1)), torch.randn(3, 4)
_CALLS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (aten.add.Tensor, (_A, _A * 3), {}),
    (aten.add.Tensor, (_A, 2.5), {"alpha": 3}),
    (aten.add.Tensor, (_A.int(), True), {"alpha": 2}),
    (aten.add.Tensor, (_A.half(), torch.tensor(2.0, dtype=torch.float64)), {}),
    (aten.sub.Tensor, (_A, _A[0]), {"alpha": 0.1}),
    (aten.sub.Tensor, (_A.int(), 2.5), {}),
    (aten.mul.Tensor, (_A, _A[0]), {}),
    (aten.mul.Tensor, (_A.int(), 0.1), {}),
    (aten.div.Tensor, (_A, _A[0]), {}),
    (aten.div.Tensor, (_A.int(), 3), {}),
    (aten.mm.default, (_A, _B), {}),
    (aten.bmm.default, (_A[None], _B[None]), {}),
    (aten.add.out, (_A, _A * 3), {}),
    (aten.add.out, (_A, 2.5), {"alpha": 3}),
    (aten.add.out, (_A.int(), True), {"alpha": 2}),
    (aten.mul.out, (_A, _A[0]), {}),
    (aten.mul.out, (_A, 0.1), {}),
    (aten.mm.out, (_A, _B), {}),
    (aten.bmm.out, (_A[None], _B[None]), {}),
    (aten.addmm.out, (_B[0], _A, _B), {}),
    (aten.addmm.out, (_B[0], _A, _B), {"beta": 0, "alpha": 0.3}),
    (aten.gelu.out, (_A,), {}),
    (aten.gelu.out, (_A,), {"approximate": "tanh"}),
    (aten.copy_.default, (torch.zeros(2, 3), _A), {}),
    (aten.copy_.default, (torch.zeros(2, 3), _A[0].int(), True), {}),
]


@pytest.mark.parametrize(("overload", "args", "kwargs"), _CALLS)
def test_a_function_in_an_overloads_place_gives_its_result(
    overload: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Bit for bit."""
    assert function_of(overload) is not overload._op

    def run(call: Any) -> torch.Tensor:
        if overload is aten.copy_.default:
            result: torch.Tensor = call(args[0].clone(), *args[1:], **kwargs)
        elif overload._overloadname == "out":
            result = call(*args, **kwargs, out=torch.empty(0, dtype=args[0].dtype))
        else:
            result = call(*args, **kwargs)
        return result

    found, expected = run(function_of(overload)), run(overload)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_every_such_function_is_compared() -> None:
    """With calls of this list."""
    assert {overload for overload, _, _ in _CALLS} == _FUNCTIONS.keys()


def test_any_other_overload_is_called_itself() -> None:
    """By its binding."""
    overload = resolve("aten.relu.default").call
    assert function_of(overload) is overload._op
