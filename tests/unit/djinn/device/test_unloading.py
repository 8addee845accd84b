"""What nobody holds any more is gone from the server: a model with its weights and plans, a weight that was replaced."""

from __future__ import annotations

import copy
import gc
import threading
import time
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


class _KeepsEverything(nn.Linear):
    """Hands all of its attributes to its copies, as classes do that leave something of their own out."""

    def __getstate__(self) -> dict[str, object]:
        """Return all attributes."""
        return self.__dict__.copy()


def test_a_copy_computes_with_its_own_weights() -> None:
    """Even if it was given all attributes of the original, which may be gone."""
    x = torch.ones(1, 4).to(DEVICE)
    with torch.no_grad():
        original = _KeepsEverything(4, 4, bias=False).to(DEVICE)
        expected = original(x).cpu()
        copied, shallow = copy.deepcopy(original), copy.copy(original)
        copied.weight.zero_()
        assert not copied(x).cpu().any()
        assert torch.equal(original(x).cpu(), expected)
        del original
        assert not copied(x).cpu().any()
        assert torch.equal(shallow(x).cpu(), expected)


def test_the_attributes_of_a_module_that_is_gone_are_refused() -> None:
    """In a sentence, since whose call it is cannot be known any more."""
    original = nn.Linear(4, 4).to(DEVICE)
    impostor = nn.Linear.__new__(nn.Linear)
    impostor.__dict__.update(original.__dict__)
    del original
    with pytest.raises(RuntimeError, match="move it to remote_accelerator:0 again"):
        impostor(torch.ones(1, 4).to(DEVICE))
    with torch.no_grad():
        assert impostor.to(DEVICE)(torch.ones(1, 4).to(DEVICE)).shape == (1, 4)


class _ReturnsView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1500, 1500), 7.0), requires_grad=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute for a while, and return elements of the weight."""
        for _ in range(12):
            x = torch.tanh(x @ self.weight)
        return x, self.weight.t()[1:]


def test_a_view_of_a_weight_that_is_replaced_during_the_call_keeps_it() -> None:
    """However soon others free it and load."""
    model, x = _ReturnsView().to(DEVICE), torch.ones(300, 1500).to(DEVICE)
    replacement = nn.Parameter(torch.full((1500, 1500), 8.0).to(DEVICE), requires_grad=False)
    views: list[torch.Tensor] = []

    def call() -> None:
        with torch.no_grad():
            views.append(model(x)[1])

    call()
    calling = threading.Thread(target=call)
    calling.start()
    time.sleep(0.02)
    model.weight = replacement
    _server_holds()
    other = nn.Linear(1500, 1500, bias=False).to(DEVICE)
    calling.join()
    for view in views:
        elements = view.cpu()
        assert float(elements[0, 0]) in (7.0, 8.0)
        assert bool((elements == elements[0, 0]).all())
    assert other.weight.shape == (1500, 1500)
