"""Every operator that torch keeps samples of for its own tests: whichever way it runs, the results are the CPU's."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils._pytree import tree_leaves, tree_map

from support import DEVICE

# Importing the database freezes torch's settings for the process, which other tests change.
torch.backends.__allow_nonbracketed_mutation_flag = True  # type: ignore[attr-defined]

pytestmark = [pytest.mark.usefixtures("runtime"), pytest.mark.filterwarnings("ignore")]

_NUM_SAMPLES = {torch.float32: 4, torch.complex64: 4, torch.int64: 1, torch.bool: 1, torch.bfloat16: 1}
_EMPTY = ("empty", "new_empty")
# What the device refuses: other layouts and dtypes than it holds, and operators that are not ATen's.
_REFUSED = {
    "to_sparse",
    "sparse.sampled_addmm",
    "sparse.mm.reduce",
    "chalf",
}
# The first is not reproduced by the CPU itself; the others multiply by conjugates, which the CPU leaves to the product.
_EQUAL_TO_ROUNDING = {"linalg.lstsq", "linalg.lstsq.grad_oriented", "svd_lowrank", "pca_lowrank"}
# torch's rule for tensors of a class of their own does not look for zeros, of which the CPU multiplies around.
_GRADIENTS_EQUAL_TO_ROUNDING = _EQUAL_TO_ROUNDING | {"prod", "masked.prod"}
# On devices other than the CPU, torch makes these of operations that keep the order of their operand's dimensions.
_ORDERED_OTHERWISE = {
    "nn.functional.interpolate.nearest",
    "nn.functional.interpolate.nearest-exact",
    "nn.functional.upsample_nearest",
}


def _name(operator: Any) -> str:
    return f"{operator.name}.{operator.variant_test_name}" if operator.variant_test_name else str(operator.name)


_OPERATORS = {
    _name(operator): operator
    for operator in op_db
    if not operator.name.startswith(_EMPTY) and _name(operator) not in _REFUSED
}
_IN_PLACE = [name for name, operator in _OPERATORS.items() if operator.inplace_variant is not None]
# Factories are told their device in other ways.
_WITH_OUT = [
    name for name, operator in _OPERATORS.items() if operator.supports_out and not operator.is_factory_function
]
_DIFFERENTIABLE = [
    name
    for name, operator in _OPERATORS.items()
    if operator.supports_autograd and torch.float32 in operator.dtypes and name != "tensor_split"
]


class _Calling(torch.nn.Module):
    """Runs a function as its forward; its buffer makes it a module on the device."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.register_buffer("unused", torch.zeros(1))
        self.function = function

    def forward(self, *args: Any) -> Any:
        """Run it."""
        return self.function(*args)


@cache
def _samples(name: str) -> list[Any]:
    """Return a few samples of each dtype, evenly spread."""
    operator, chosen = _OPERATORS[name], []
    for dtype, num_samples in _NUM_SAMPLES.items():
        if dtype in operator.dtypes:
            torch.manual_seed(1)
            random.seed(1)
            samples = list(operator.sample_inputs("cpu", dtype))
            chosen += samples[:: max(1, len(samples) // num_samples)][:num_samples]
    return chosen


def _operands(name: str, sample: Any, device: str) -> tuple[list[Any], dict[str, Any]]:
    """Return copies of a sample's operands on a device."""

    def placed(operand: Any) -> Any:
        if isinstance(operand, torch.Tensor):
            return operand.detach().clone().to(device)
        return device if operand in ("cpu", torch.device("cpu")) else operand

    if name == "tensor_split":  # whose indices may be a tensor on the host alone
        return [placed(sample.input), *map(_listed, sample.args)], sample.kwargs
    return [tree_map(placed, sample.input), *tree_map(placed, sample.args)], tree_map(placed, sample.kwargs)


def _listed(indices: Any) -> Any:
    return indices.tolist() if isinstance(indices, torch.Tensor) else indices


def _run(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], device: str) -> Any:
    """Return what a function returns, or the class of what it raises; factories make their results on the device."""
    torch.manual_seed(3)
    try:
        with torch.no_grad(), torch.device(device):
            return function(*args, **kwargs)
    except Exception as error:  # samples that an operator does not take
        return type(error)


def _check_equal(actual: Any, expected: Any, *, to_rounding: bool) -> None:
    actual, expected = tree_leaves(actual), tree_leaves(expected)
    assert len(actual) == len(expected)
    for got, want in zip(actual, expected, strict=True):
        if not isinstance(want, torch.Tensor):  # where NaN is not equal to itself
            assert repr(got) == repr(want)
            continue
        assert got.device.type == torch.device(DEVICE).type
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        assert got.numel() == 0 or to_rounding or got.stride() == want.stride()
        tolerance = {"rtol": 1e-3, "atol": 1e-3} if to_rounding else {"rtol": 0, "atol": 0}
        torch.testing.assert_close(got.cpu(), want.resolve_conj().resolve_neg(), equal_nan=True, **tolerance)


def _is_matrix(operand: Any) -> bool:
    return isinstance(operand, torch.Tensor) and operand.dim() > 1


def _reordered(sample: Any) -> Any:
    """Return a sample whose operands lie in memory with their last dimension outermost."""

    def reorder(operand: torch.Tensor) -> torch.Tensor:
        if not _is_matrix(operand):
            return operand
        backwards = tuple(reversed(range(operand.dim())))
        return operand.detach().permute(backwards).contiguous().permute(backwards)

    return sample.transform(reorder)


def _check(name: str, native: Callable[..., Any], remote: Callable[..., Any], samples: list[Any] | None = None) -> None:
    for sample in _samples(name) if samples is None else samples:
        operands, remote_operands = _operands(name, sample, "cpu"), _operands(name, sample, DEVICE)
        expected, actual = _run(native, *operands, "cpu"), _run(remote, *remote_operands, DEVICE)
        if isinstance(expected, type):
            assert actual is expected
        else:
            _check_equal(actual, expected, to_rounding=name in _EQUAL_TO_ROUNDING)
            written = [
                [leaf for leaf in tree_leaves(each) if isinstance(leaf, torch.Tensor)]
                for each in (remote_operands, operands)
            ]
            _check_equal(*written, to_rounding=False)


def _planned(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return _Calling(lambda *operands: function(*operands, **kwargs)).to(DEVICE)(*args)

    return call


@pytest.mark.parametrize("name", _OPERATORS)
def test_singly(name: str) -> None:
    """As an operation of its own."""
    operator = _OPERATORS[name]
    _check(name, operator, operator)


@pytest.mark.parametrize("name", _OPERATORS)
def test_in_a_plan(name: str) -> None:
    """As all that a module computes."""
    operator = _OPERATORS[name]
    _check(name, operator, _planned(operator))


@pytest.mark.parametrize("name", [name for name in _OPERATORS if name not in _ORDERED_OTHERWISE])
def test_in_a_plan_of_operands_in_another_order(name: str) -> None:
    """As those that were transposed, or have their channels last: results are as right, and lie as they do natively."""
    operator = _OPERATORS[name]
    samples = [sample for sample in _samples(name) if any(_is_matrix(leaf) for leaf in tree_leaves(sample.input))]
    _check(name, operator, _planned(operator), [_reordered(sample) for sample in samples[:1]])


@pytest.mark.parametrize("name", _IN_PLACE)
def test_in_place_in_a_plan(name: str) -> None:
    """As all that a module does to its argument."""
    function = _OPERATORS[name].inplace_variant
    _check(name, function, _planned(function))


@pytest.mark.parametrize("name", _WITH_OUT)
def test_into_a_given_tensor(name: str) -> None:
    """By `out=`, with the shape and dtype of the result."""
    operator = _OPERATORS[name]
    for sample in operator.sample_inputs("cpu", torch.float32) if torch.float32 in operator.dtypes else []:
        args, kwargs = _operands(name, sample, "cpu")
        expected = _run(operator, args, kwargs, "cpu")
        if not isinstance(expected, torch.Tensor):
            continue
        args, kwargs = _operands(name, sample, DEVICE)
        given = torch.ones_like(expected).to(DEVICE)
        assert _run(operator, args, kwargs | {"out": given}, DEVICE) is given
        _check_equal(given, expected, to_rounding=name in _EQUAL_TO_ROUNDING)
        break


def _gradients(name: str, sample: Any, device: str) -> list[torch.Tensor]:
    args, kwargs = _operands(name, sample, device)
    leaves, originals = tree_leaves((args, kwargs)), tree_leaves(([sample.input, *sample.args], sample.kwargs))
    wanted = [
        leaf.requires_grad_()
        for leaf, original in zip(leaves, originals, strict=True)
        if isinstance(original, torch.Tensor) and original.requires_grad
    ]
    torch.manual_seed(3)
    with torch.device(device):
        result = sample.output_process_fn_grad(_OPERATORS[name](*args, **kwargs))
    results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    if not results or not wanted:
        return []
    seeds = [torch.ones_like(result) for result in results]
    return [g for g in torch.autograd.grad(results, wanted, seeds, allow_unused=True) if g is not None]


@pytest.mark.parametrize("name", _DIFFERENTIABLE)
def test_gradients(name: str) -> None:
    """By autograd, which computes them on the device; their strides are left to it."""
    torch.manual_seed(1)
    random.seed(1)
    samples = list(_OPERATORS[name].sample_inputs("cpu", torch.float32, requires_grad=True))
    for sample in samples[:: max(1, len(samples) // 2)][:2]:
        expected, actual = _gradients(name, sample, "cpu"), _gradients(name, sample, DEVICE)
        assert len(actual) == len(expected)
        tolerance = {"rtol": 1e-4, "atol": 1e-4} if name in _GRADIENTS_EQUAL_TO_ROUNDING else {"rtol": 0, "atol": 0}
        for got, want in zip(actual, expected, strict=True):
            torch.testing.assert_close(got.cpu(), want, equal_nan=True, **tolerance)


@pytest.mark.parametrize("name", sorted(_REFUSED))
def test_refused(name: str) -> None:
    """As what the device does not hold or run, with what to do instead."""
    [operator] = [operator for operator in op_db if _name(operator) == name]
    sample = next(iter(operator.sample_inputs("cpu", torch.float32)))
    with pytest.raises(NotImplementedError, match="CPU"):
        args, kwargs = _operands(name, sample, DEVICE)
        operator(*args, **kwargs)
