"""Every module that torch keeps samples of for its own tests: planned, and differentiated, the results are the CPU's."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_leaves, tree_map

from support import DEVICE

# Importing the database freezes torch's settings for the process, which other tests change.
torch.backends.__allow_nonbracketed_mutation_flag = True  # type: ignore[attr-defined]

pytestmark = [pytest.mark.usefixtures("runtime"), pytest.mark.filterwarnings("ignore")]

_NUM_SAMPLES = 6
# Lazy ones have no weights to copy before their first call.
_MODULES = {info.name: info for info in module_db if not info.name.startswith("nn.Lazy")}
# Projections are multiplied in another order where weights need no gradient, as on the server; nested tensors pack what
# is padded here; the derivative of a whole LSTM and of a chunked loss is that of their parts.
_EQUAL_TO_ROUNDING = {"nn.LSTM", "nn.Transformer", "nn.LinearCrossEntropyLoss"}


def _samples(info: Any, *, training: bool) -> list[Any]:
    samples = info.module_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False, training=training)
    with_input = [sample for sample in samples if sample.forward_input is not None]
    return with_input[:: max(1, len(with_input) // _NUM_SAMPLES)][:_NUM_SAMPLES]


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _forward(module: torch.nn.Module, sample: Any, device: str) -> Any:
    def placed(operand: Any) -> Any:
        return operand.detach().clone().to(device) if isinstance(operand, torch.Tensor) else operand

    torch.manual_seed(1)
    inputs = sample.forward_input
    return module(*tree_map(placed, inputs.args), **tree_map(placed, inputs.kwargs))


def _planned(module: torch.nn.Module, sample: Any, device: str) -> list[torch.Tensor]:
    """Return results and buffers of two calls, of which the second one finds the first one's plan."""
    with torch.no_grad():
        results = [_tensors(_forward(module, sample, device)) for _ in range(2)]
    return [*itertools.chain.from_iterable(results), *module.buffers()]


def _gradients(module: torch.nn.Module, sample: Any, device: str) -> list[torch.Tensor]:
    results = [result for result in _tensors(_forward(module, sample, device)) if result.requires_grad]
    if results:
        sum((result * result).sum() for result in results).backward()  # type: ignore[union-attr]
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("training", [False, True], ids=["evaluating", "training"])
@pytest.mark.parametrize("name", _MODULES)
def test_a_module_equals_native(name: str, training: bool) -> None:
    """Errors too."""
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if name in _EQUAL_TO_ROUNDING else {"rtol": 0, "atol": 0}
    for sample in _samples(_MODULES[name], training=training):
        torch.manual_seed(0)
        constructor = sample.constructor_input
        native = _MODULES[name].module_cls(*constructor.args, **constructor.kwargs).train(training)
        remote = copy.deepcopy(native).to(DEVICE)
        for compute in (_planned, _gradients):
            try:
                expected = compute(native, sample, "cpu")
            except Exception as error:  # some samples are there to be refused
                with pytest.raises(type(error)):
                    compute(remote, sample, DEVICE)
                continue
            actual = compute(remote, sample, DEVICE)
            assert len(actual) == len(expected)
            for got, want in zip(actual, expected, strict=True):
                torch.testing.assert_close(got.detach().cpu(), want.detach(), equal_nan=True, **tolerance)
