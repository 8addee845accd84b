"""Backward passes run on their caller's thread, and whatever Python raises in them reaches the caller."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from conftest import Run
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")


class _ExpectedError(Exception):
    pass


def _fail(*args: Any) -> Any:
    raise _ExpectedError


def _unpacked(x: torch.Tensor) -> torch.Tensor:
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, _fail):
        return x.sin()


def _hooked(register: Callable[[torch.Tensor, torch.Tensor], Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    def compute(x: torch.Tensor) -> torch.Tensor:
        y = x.sin()
        register(x, y)
        return y

    return compute


FAILING: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tensor": _hooked(lambda x, y: y.register_hook(_fail)),
    "leaf": _hooked(lambda x, y: x.register_hook(_fail)),
    "after accumulation": _hooked(lambda x, y: x.register_post_accumulate_grad_hook(_fail)),
    "node": _hooked(lambda x, y: y.grad_fn.register_hook(_fail)),  # type: ignore[union-attr]
    "before node": _hooked(lambda x, y: y.grad_fn.register_prehook(_fail)),  # type: ignore[union-attr]
    "unpacking": _unpacked,
}


@pytest.mark.parametrize("name", FAILING)
def test_exceptions_of_hooks_reach_the_caller(name: str) -> None:
    """The process lives on, and so does the graph of another pass."""
    y = FAILING[name](torch.ones(3, device=DEVICE).requires_grad_())
    with pytest.raises(_ExpectedError):
        y.sum().backward()
    x = torch.ones(3, device=DEVICE).requires_grad_()
    (x * 2).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2, 2]


def test_errors_of_operations_reach_the_caller() -> None:
    """What a hook's operation on the device raises, as the CPU raises it."""
    x = torch.ones(3, device=DEVICE).requires_grad_()
    y = x.sin()
    y.register_hook(lambda gradient: gradient.view(7))
    with pytest.raises(RuntimeError, match="invalid for input of size 3"):
        y.sum().backward()


def test_a_pass_inside_a_hook_fails_alone() -> None:
    """A caught failure of an inner pass leaves the outer one intact."""
    x = torch.ones(3, device=DEVICE).requires_grad_()

    def hook(gradient: torch.Tensor) -> None:
        with torch.enable_grad(), pytest.raises(_ExpectedError):
            FAILING["tensor"](torch.ones(3, device=DEVICE).requires_grad_()).sum().backward()

    y = x * 2
    y.register_hook(hook)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2, 2]


def test_hooks_run_on_the_calling_thread() -> None:
    """So that they are in their caller's session."""
    x = torch.ones(3, device=DEVICE).requires_grad_()
    threads = []
    y = x * 2
    y.register_hook(lambda gradient: threads.append(threading.current_thread()))
    y.sum().backward()
    assert threads == [threading.current_thread()]


def test_the_device_may_appear_after_the_first_backward_pass(run_cli: Run) -> None:
    """torch counts devices once, in the first pass of the process."""
    program = f"""
import djinn, torch
torch.ones(2, requires_grad=True).sum().backward()
djinn.init()
x = torch.ones(2, device="{DEVICE}").requires_grad_()
(x * 3).sum().backward()
print(x.grad.tolist())
"""
    result = run_cli("-c", program)
    assert result.stdout.strip() == "[3.0, 3.0]", result.stderr


@pytest.mark.parametrize("writes", ["argument", "buffer"])
def test_what_a_plan_overwrites_is_missed_by_a_backward_pass(writes: str) -> None:
    """It would need the elements that were there before."""

    class Writing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.ones(4))

        def forward(self, x: torch.Tensor) -> Any:
            (x if writes == "argument" else self.total).add_(2)
            return x * 2

    module, x = Writing().to(DEVICE), torch.ones(4, device=DEVICE)
    factor = torch.ones(4, device=DEVICE, requires_grad=True)
    with torch.no_grad():
        module(x)
    for _ in range(2):
        product = (factor * (x if writes == "argument" else module.total)).sum()
        with torch.no_grad():
            module(x)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            product.backward()


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointing_recomputes_what_was_computed(use_reentrant: bool) -> None:
    """Dropout draws the same numbers again, and the gradients are the CPU's."""

    def compute(device: str) -> list[torch.Tensor]:
        torch.manual_seed(5)
        layer = torch.nn.Linear(16, 16).to(device)
        x = torch.ones(2, 16).to(device).requires_grad_()
        torch.manual_seed(6)
        y = checkpoint(lambda value: torch.nn.functional.dropout(layer(value), 0.5), x, use_reentrant=use_reentrant)
        y.sum().backward()
        assert x.grad is not None
        return [y.detach().cpu(), x.grad.cpu()]

    for want, got in zip(compute("cpu"), compute(DEVICE), strict=True):
        assert torch.equal(want, got)


@pytest.mark.parametrize("name", ["silu", "mish", "gelu", "softplus", "hardswish", "logsigmoid", "prelu"])
def test_gradients_of_activations_equal_native(name: str) -> None:
    """Bit for bit, where the CPU has a kernel for what torch could take apart; and so are second derivatives."""

    def gradients(device: str) -> list[torch.Tensor]:
        x = torch.randn(64, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()
        function = getattr(torch.nn.functional, name)
        y = function(x, torch.full((1,), 0.25).to(device)) if name == "prelu" else function(x)
        [first] = torch.autograd.grad((y * y).sum(), x, retain_graph=True)
        [recorded] = torch.autograd.grad((y * y).sum(), x, create_graph=True)
        [second] = torch.autograd.grad(recorded.sum(), x)
        return [first.cpu(), second.cpu()]

    for want, got in zip(gradients("cpu"), gradients(DEVICE), strict=True):
        assert torch.equal(want, got)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.04, 0.1, 0.15, 0.5, 0.9, 1.0])
def test_dropout_in_training_equals_native(p: float, dtype: torch.dtype) -> None:
    """What is left is scaled by the same factor, rounded in the same way, forward and backward."""

    def run(device: str) -> list[torch.Tensor]:
        torch.manual_seed(2)
        x = torch.rand(50, 4, dtype=dtype).to(device).requires_grad_()
        torch.manual_seed(3)
        result = torch.nn.functional.dropout(x, p, training=True)
        (result * result).sum().backward()
        with torch.no_grad():
            again = torch.nn.Sequential(torch.nn.Dropout(p), torch.nn.PReLU(dtype=dtype)).to(device).train()(x)
        return [result.detach().cpu(), x.grad.cpu(), again.cpu()]

    for got, want in zip(run(DEVICE), run("cpu"), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("p", [-0.5, 2.0, float("nan")])
@pytest.mark.parametrize("train", [False, True])
def test_what_is_no_probability_is_refused_as_natively(p: float, train: bool) -> None:
    """In torch's own words."""
    messages = []
    for device in ("cpu", DEVICE):
        with pytest.raises(RuntimeError) as caught:
            torch.dropout(torch.ones(3).to(device), p, train)
        messages.append(str(caught.value).splitlines()[0])
    assert messages[0] == messages[1]


def test_data_is_written_past_autograd() -> None:
    """Between a forward pass and its backward pass, as clipped weights are."""

    def gradients(device: str) -> list[list[float]]:
        torch.manual_seed(5)
        module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)).to(device)
        result = module(torch.ones(1, 2).to(device)).sum()
        for parameter in module.parameters():
            parameter.data.clamp_(-0.1, 0.1)
        result.backward()
        return [values.tolist() for parameter in module.parameters() for values in (parameter, parameter.grad)]

    assert gradients(DEVICE) == gradients("cpu")
    value = torch.rand(3, dtype=torch.float64).to(DEVICE).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: x.sin() * x.sum(), (value,))


def test_an_optimizer_that_was_made_before_the_module_moved_trains_it() -> None:
    """There and back again: parameters stay the objects that they are, with what was attached to them."""
    module = torch.nn.Linear(2, 1, bias=False)
    module.weight.group = "first"
    torch.nn.init.ones_(module.weight)
    weight, optimizer = module.weight, torch.optim.SGD(module.parameters(), lr=0.5)
    for device in (DEVICE, "cpu", DEVICE):
        module.to(device)
        assert module.weight is weight
        assert weight.device == torch.device(device)
        assert isinstance(weight, torch.nn.Parameter)
        assert weight.group == "first"
        optimizer.zero_grad()
        module(torch.ones(1, 2).to(device)).sum().backward()
        optimizer.step()
    assert weight.tolist() == [[-0.5, -0.5]]


def test_a_graph_from_before_the_module_moved_ends_in_an_error() -> None:
    """Its gradients would be those of weights that are elsewhere; the next one is the module's."""
    module = torch.nn.Linear(2, 1)
    result = module(torch.ones(1, 2)).sum()
    module.to(DEVICE)
    with pytest.raises(RuntimeError, match="swapped"):
        result.backward()
    module(torch.ones(1, 2).to(DEVICE)).sum().backward()
    assert module.weight.grad.tolist() == [[1.0, 1.0]]


def test_a_parameter_with_a_weak_reference_moves_all_the_same() -> None:
    """torch exchanges no such tensors, so the module has a new one then."""
    module = torch.nn.Linear(2, 1)
    before = module.weight
    reference = weakref.ref(before)
    module.to(DEVICE)
    assert reference() is before
    assert before.device == torch.device("cpu")
    assert module.weight.device == torch.device(DEVICE)


def test_forward_mode_sees_through_a_module_that_has_a_plan() -> None:
    """Under no_grad, too, where its other calls are planned; a plan knows no tangents."""
    native = torch.nn.Linear(3, 2).requires_grad_(False)
    remote = copy.deepcopy(native).to(DEVICE)
    x, tangent = torch.randn(1, 3), torch.randn(1, 3)

    def tangent_of(module: torch.nn.Module, device: str) -> Any:
        with torch.no_grad(), forward_ad.dual_level():
            module(x.to(device))
            return forward_ad.unpack_dual(module(forward_ad.make_dual(x.to(device), tangent.to(device)))).tangent

    with torch.no_grad():
        remote(x.to(DEVICE))
    expected = tangent_of(native, "cpu")
    assert expected is not None
    assert torch.equal(tangent_of(remote, DEVICE).cpu(), expected)
