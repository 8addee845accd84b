"""What a forward may do beside computing: whatever it is, calls do it as native PyTorch does, the first one and the later ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")

_STATE = torch.Generator().manual_seed(7).get_state()


@torch.library.custom_op("djinn_tests::noise", mutates_args=())
def _noise(num_elements: int) -> torch.Tensor:
    return torch.rand(num_elements)


class _Module(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.register_buffer("count", torch.zeros(3))
        self.function = function

    def forward(self, *args: Any) -> Any:
        """Run the function."""
        return self.function(self, *args)


def _differentiates(module: Any, x: torch.Tensor) -> Any:
    with torch.enable_grad():
        (x * module.weight).sum().backward()
    return module.weight.grad.clone()


def _records_a_graph(module: Any, x: torch.Tensor) -> Any:
    with torch.enable_grad():
        energy = (x * module.weight).sum()
    energy.backward()
    return energy.detach()


def _reads_an_attribute(module: Any, x: torch.Tensor) -> Any:
    return x * module.weight * getattr(module.weight, "scale", 2.0)


def _sets_an_attribute(module: Any, x: torch.Tensor) -> Any:
    module.weight.calls = getattr(module.weight, "calls", 0) + 1
    return x * module.weight.calls


def _writes_to_a_list(module: Any, x: torch.Tensor) -> Any:
    torch._foreach_add_([module.count], [x])
    return module.count * 1


def _writes_to_what_is_passed(module: Any, x: torch.Tensor) -> Any:
    torch._foreach_mul_([x], 2)
    return x + module.weight


def _swaps(module: Any, x: torch.Tensor) -> Any:
    torch.utils.swap_tensors(module.count, module.count + x)
    return module.count * 1


def _draws_in_an_operator_of_others(module: Any, x: torch.Tensor) -> Any:
    return x * module.weight * float(_noise(1))


def _sets_the_state(module: Any, x: torch.Tensor) -> Any:
    torch.set_rng_state(_STATE)
    return x * module.weight


@pytest.mark.parametrize(
    "function",
    [
        _differentiates,
        _records_a_graph,
        _reads_an_attribute,
        _sets_an_attribute,
        _writes_to_a_list,
        _writes_to_what_is_passed,
        _swaps,
        _draws_in_an_operator_of_others,
        _sets_the_state,
    ],
)
def test_each_call_does_what_native_calls_do(function: Any) -> None:
    """To its result, its argument, the module's tensors, their gradients and attributes, and the host's random numbers."""

    def results(device: str) -> list[Any]:
        module, seen = _Module(function).to(device), []
        torch.manual_seed(7)
        for number in range(4):
            x = torch.full((3,), 1.0 + number).to(device)
            with torch.no_grad():
                seen.append(module(x).tolist())
            seen += [x.tolist(), module.count.tolist(), vars(module.weight).get("calls"), torch.rand(1).item()]
            seen.append(None if module.weight.grad is None else module.weight.grad.tolist())
            if function is _reads_an_attribute and number == 1:
                module.weight.scale = 5.0
        return seen

    assert results("cpu") == results(DEVICE)


def _passes_a_view(module: nn.Module, x: torch.Tensor) -> Any:
    return module(x, x.view(3))


def _passes_itself_detached(module: nn.Module, x: torch.Tensor) -> Any:
    return module(x, x.detach())


def _passes_a_weight(module: Any, x: torch.Tensor) -> Any:
    return module(x, module.weight.detach())


def _passes_halves(module: nn.Module, x: torch.Tensor) -> Any:
    both = torch.cat([x, x])
    return module(both[:3], both[3:])


@pytest.mark.parametrize("call", [_passes_a_view, _passes_itself_detached, _passes_a_weight, _passes_halves])
def test_inputs_that_share_elements_are_written_to_as_one(call: Any) -> None:
    """Halves of one tensor do not."""

    def function(module: Any, one: torch.Tensor, other: torch.Tensor) -> Any:
        before = one * 2 + module.weight
        other.add_(10)
        return before + one * 2 + module.weight

    native = _Module(function)
    remote = copy.deepcopy(native).to(DEVICE)
    for _ in range(3):
        x = torch.tensor([1.0, 2.0, 3.0])
        with torch.no_grad():
            assert call(remote, x.to(DEVICE)).tolist() == call(native, x.clone()).tolist()
        assert remote.weight.tolist() == native.weight.tolist()


@pytest.mark.parametrize("is_planned", [False, True], ids=["singly", "planned"])
def test_conjugates_in_inference_mode(is_planned: bool) -> None:
    """Of tensors from outside of it."""
    module = _Module(lambda _, x: torch.view_as_real(x.conj() * 1).clone())
    value = torch.tensor([1 + 2j, 3 - 4j])
    with torch.inference_mode():
        run = module.to(DEVICE) if is_planned else module.forward
        assert run(value.to(DEVICE)).tolist() == [[1.0, -2.0], [3.0, 4.0]]
