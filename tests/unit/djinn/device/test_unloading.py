"""What nobody holds any more is gone from the server: a model with its weights and plans, a weight that was replaced."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import djinn
from djinn.client import runtime
from djinn.protocol import messages as m
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(autouse=True)
def _without_garbage_collector() -> Iterator[None]:
    """A model that only the collector finds keeps its memory for as long as that happens not to run."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _server_holds() -> tuple[int, int]:
    """Return the bytes of weights and the number of plans on the server, after what was to be freed is."""
    client = runtime.current_client()
    client.request(m.Seed(seed=1))
    reply, _ = client.request(m.Stats())
    return reply.values["memory"]["text"]["used_bytes"], reply.values["client"]["num_plans"]


def _model() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.LayerNorm(64), nn.Linear(64, 8)).to(DEVICE)


def test_a_model_goes_with_its_last_reference() -> None:
    """Its plans do not keep it, nor do its own calls."""
    before = _server_holds()
    model, x = _model(), torch.ones(3, 64).to(DEVICE)
    with torch.no_grad():
        for _ in range(3):
            model(x).cpu()
    used_bytes, num_plans = _server_holds()
    assert used_bytes >= before[0] + 4 * 64 * 64
    assert num_plans > before[1]
    del model
    assert _server_holds() == before


def test_a_result_outlives_its_model() -> None:
    """It has memory of its own."""
    model, x = _model(), torch.ones(3, 64).to(DEVICE)
    with torch.no_grad():
        expected, result = model(x).cpu(), model(x)
    del model
    _server_holds()
    torch.ones(3, 8, device=DEVICE).fill_(9)
    assert torch.equal(result.cpu(), expected)


def test_a_replaced_weight_goes() -> None:
    """At once, although the plan that read it was cached."""
    model, x = nn.Linear(64, 64, bias=False).to(DEVICE), torch.ones(3, 64).to(DEVICE)
    with torch.no_grad():
        model(x).cpu()
        used_bytes, _ = _server_holds()
        model.weight = nn.Parameter(torch.eye(64).to(DEVICE), requires_grad=False)
        assert torch.equal(model(x).cpu(), torch.ones(3, 64))
    assert _server_holds()[0] < used_bytes


class _ReturnsWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return a sum, the argument and a weight."""
        return self.linear(x), x, self.linear.weight


def test_a_returned_weight_is_the_modules_own() -> None:
    """Even where another parameter over the same elements has taken its place since the call was planned."""
    model, x = _ReturnsWeight().to(DEVICE), torch.ones(2, 4).to(DEVICE)
    with torch.no_grad():
        for _ in range(2):
            _, argument, weight = model(x)
            assert argument is x
            assert weight is model.linear.weight
        model.linear.weight = nn.Parameter(model.linear.weight.data)
        for _ in range(2):
            assert model(x)[2] is model.linear.weight
    assert djinn.last_call().planned
    del model
    assert torch.isfinite(weight.cpu()).all()
