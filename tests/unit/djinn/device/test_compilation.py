"""torch's own compilers, given what lies on the device: it runs as it would without them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from support import DEVICE

pytestmark = [pytest.mark.usefixtures("runtime"), pytest.mark.filterwarnings("ignore")]


def _pair() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    native = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3)).eval()
    return native, copy.deepcopy(native).to(DEVICE)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_module_and_its_gradients_equal_native(backend: str) -> None:
    """Several shapes too, of which each would be compiled anew."""
    native, remote = _pair()
    compiled = torch.compile(remote, backend=backend)
    for num_rows in (2, 5):
        value = torch.randn(num_rows, 4)
        with torch.no_grad():
            assert torch.equal(compiled(value.to(DEVICE)).cpu(), native(value))
        for module, operand in ((native, value), (compiled, value.to(DEVICE))):
            module(operand).square().sum().backward()
    for got, want in zip(remote.parameters(), native.parameters(), strict=True):
        assert got.grad is not None
        assert want.grad is not None
        assert torch.equal(got.grad.cpu(), want.grad)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_function_equals_native(backend: str) -> None:
    """It gets its operands from the device, and its result is there."""
    compiled, value = torch.compile(lambda x: (x * 2).sin(), backend=backend), torch.randn(3)
    result = compiled(value.to(DEVICE))
    assert result.device == torch.device(DEVICE)
    assert torch.equal(result.cpu(), (value * 2).sin())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_a_traced_module_computes_with_what_it_is_given(mode: type) -> None:
    """Its trace consists of operations, of which a plan would show none."""
    native, remote = _pair()
    with mode():
        traced = torch.jit.trace(remote, torch.randn(5, 4).to(DEVICE))
        value = torch.randn(2, 4)
        assert torch.equal(traced(value.to(DEVICE)).cpu(), native(value))
