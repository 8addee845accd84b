"""No plan outlives what it was made from, whichever way that is changed; every result is native PyTorch's."""

from __future__ import annotations

import collections
import copy
import functools
import random
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import djinn
from support import DEVICE

_STATE = torch.Generator().manual_seed(9).get_state()

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    djinn.plan_cache.clear()
    yield
    torch.set_default_dtype(torch.float32)


class Calling(nn.Module):
    """Runs a function as its forward, with attributes to change."""

    def __init__(self, function: Callable[..., Any], **attributes: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, *args: Any) -> Any:
        """Run it."""
        return self.function(self, *args)


class CallingWithSlots(Calling):
    """One that keeps attributes where no dictionary has them."""

    __slots__ = ("factor", "others")


def _with_slots(factor: float, others: list[float]) -> nn.Module:
    module = CallingWithSlots(lambda m, x: x * m.factor * m.others[0])
    module.factor, module.others = factor, others
    return module


class Plain:
    """An object with one attribute."""

    def __init__(self, factor: float) -> None:
        self.factor = factor


@dataclass(slots=True)
class Slotted:
    """One that keeps it in a slot."""

    factor: float


def _linear() -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(4, 4)


def _sequence() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))


def _listed() -> nn.Module:
    def run(module: Any, x: torch.Tensor) -> torch.Tensor:
        return functools.reduce(lambda value, layer: layer(value), module.layers, x) * module.weight

    return Calling(run, layers=nn.ModuleList([nn.ReLU(), nn.Tanh()]))


def _named() -> nn.Module:
    def run(module: Any, x: torch.Tensor) -> torch.Tensor:
        return functools.reduce(lambda value, layer: layer(value), module.layers.values(), x) * module.weight

    return Calling(run, layers=nn.ModuleDict({"a": nn.ReLU(), "b": nn.Tanh()}))


def _keeping(value: Any, read: Callable[[Any], float]) -> Callable[[], nn.Module]:
    return lambda: Calling(lambda module, x: x * read(module.kept) * module.weight, kept=copy.deepcopy(value))


def _swap(module: Any, device: str) -> None:
    torch.utils.swap_tensors(module.weight, nn.Parameter(torch.zeros(4, 4).to(device)))


def _zeros(device: str, *shape: int) -> torch.Tensor:
    return torch.zeros(*shape).to(device)


Change = Callable[[Any, str], Any]
CHANGES: dict[str, tuple[Callable[[], nn.Module], Change]] = {
    "data": (_linear, lambda m, d: setattr(m.weight, "data", _zeros(d, 4, 4))),
    "transposed": (_linear, lambda m, d: m.weight.t_()),
    "requires_grad": (_linear, lambda m, d: setattr(m.weight, "requires_grad", False)),
    "swapped": (_linear, _swap),
    "table": (_linear, lambda m, d: m._parameters.update(weight=nn.Parameter(_zeros(d, 4, 4)))),
    "vector": (_linear, lambda m, d: nn.utils.vector_to_parameters(_zeros(d, 20), m.parameters())),
    "sequence insert": (_sequence, lambda m, d: m.insert(1, nn.Tanh())),
    "sequence pop": (_sequence, lambda m, d: m.pop(1)),
    "sequence insert after a deletion": (
        _sequence,
        lambda m, d: (m.__delitem__(1), m(_zeros(d, 1, 4)), m.insert(0, nn.Tanh())),
    ),
    "list insert": (_listed, lambda m, d: m.layers.insert(0, nn.Sigmoid())),
    "list delete": (_listed, lambda m, d: m.layers.__delitem__(0)),
    "named pop": (_named, lambda m, d: m.layers.pop("b")),
    "named clear": (_named, lambda m, d: m.layers.clear()),
    "list": (_keeping([2.0], lambda kept: kept[0]), lambda m, d: m.kept.__setitem__(0, 3.0)),
    "nested list": (_keeping([[2.0]], lambda kept: kept[0][0]), lambda m, d: m.kept[0].__setitem__(0, 3.0)),
    "dictionary": (_keeping({"a": 2.0}, lambda kept: kept["a"]), lambda m, d: m.kept.update(a=3.0)),
    "key": (_keeping({"a": 2.0}, len), lambda m, d: m.kept.update(b=3.0)),
    "key's type": (_keeping({1: 0}, lambda kept: 2.0 if 1 in kept else 3.0), lambda m, d: setattr(m, "kept", {"1": 0})),
    "sign of zero": (_keeping(0.0, lambda kept: kept), lambda m, d: setattr(m, "kept", -0.0)),
    "set": (_keeping({1}, len), lambda m, d: m.kept.add(2)),
    "queue": (_keeping(collections.deque([1]), len), lambda m, d: m.kept.append(2)),
    "array": (_keeping(np.array([2.0]), lambda kept: float(kept[0])), lambda m, d: m.kept.fill(3.0)),
    "object": (_keeping(Plain(2.0), lambda kept: kept.factor), lambda m, d: setattr(m.kept, "factor", 3.0)),
    "slot": (_keeping(Slotted(2.0), lambda kept: kept.factor), lambda m, d: setattr(m.kept, "factor", 3.0)),
    "namespace": (
        _keeping(types.SimpleNamespace(a=2.0), lambda kept: kept.a),
        lambda m, d: setattr(m.kept, "a", 3.0),
    ),
    "another object": (_keeping(Plain(2.0), lambda kept: kept.factor), lambda m, d: setattr(m, "kept", Plain(3.0))),
    "host tensor": (_keeping(torch.tensor(2.0), lambda kept: kept), lambda m, d: m.kept.fill_(3.0)),
    "shape of a host tensor": (
        _keeping(torch.tensor([2.0]), lambda kept: len(kept.unsqueeze(-1)[0]) + kept.dim()),
        lambda m, d: m.kept.unsqueeze_(0),
    ),
    "list of a host tensor": (
        _keeping(torch.tensor([2.0]), lambda kept: kept.tolist()[0]),
        lambda m, d: m.kept.fill_(3.0),
    ),
    "gradient": (
        lambda: Calling(lambda m, x: x if m.weight.grad is None else x * m.weight.grad),
        lambda m, d: setattr(m.weight, "grad", torch.full((4,), 3.0).to(d)),
    ),
    "order": (
        _keeping(collections.OrderedDict(a=2.0, b=3.0), lambda kept: next(iter(kept.values()))),
        lambda m, d: m.kept.move_to_end("a"),
    ),
    "module's slot": (lambda: _with_slots(2.0, [1.0]), lambda m, d: setattr(m, "factor", 3.0)),
    "list in a module's slot": (lambda: _with_slots(2.0, [1.0]), lambda m, d: m.others.__setitem__(0, 3.0)),
    "forward": (_linear, lambda m, d: setattr(m, "forward", lambda x: x * 2)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_seen(name: str) -> None:
    """However a module is changed between two calls."""
    make, change = CHANGES[name]

    def results(device: str) -> list[torch.Tensor]:
        module, x = make().to(device).eval(), torch.arange(1.0, 5.0).reshape(1, 4).to(device)
        with torch.no_grad():
            found = [module(x).cpu(), module(x).cpu()]
            change(module, device)
            return [*found, module(x).cpu(), module(x).cpu()]

    for want, got in zip(results("cpu"), results(DEVICE), strict=True):
        assert torch.equal(want.signbit(), got.signbit())
        assert torch.equal(want, got)


def test_in_place_changes_are_noticed_without_giving_plans_up() -> None:
    """A value that comes back finds its plan."""
    module = _keeping([2.0], lambda kept: kept[0])().to(DEVICE)
    x = torch.ones(4, device=DEVICE)
    hits = []
    with torch.no_grad():
        for factor in (2.0, 3.0, 2.0, 3.0):
            module.kept[0] = factor
            assert module(x).tolist() == [factor] * 4
            hits.append(djinn.last_call().cache_hit)
    assert hits == [False, False, True, True]


def test_functional_call_runs_on_the_tensors_that_it_is_given() -> None:
    """And the module's own are used again afterwards."""
    module, x = _linear().to(DEVICE), torch.ones(1, 4, device=DEVICE)
    with torch.no_grad():
        own = module(x).cpu()
        for value in (0.0, 1.0, 0.0):
            tensors = {name: torch.full_like(tensor, value) for name, tensor in module.named_parameters()}
            assert torch.func.functional_call(module, tensors, (x,)).tolist() == [[5.0 * value] * 4]
            assert torch.equal(module(x).cpu(), own)


def test_copies_of_a_described_module_are_ordinary_modules() -> None:
    """The tables that count changes stay behind."""
    module = _sequence().to(DEVICE)
    with torch.no_grad():
        module(torch.ones(1, 4, device=DEVICE))
    copied = copy.deepcopy(module)
    assert type(copied._modules) is dict
    assert type(copied[0]._parameters) is dict
    assert copied[0].weight is not module[0].weight
    assert list(copied.state_dict()) == list(module.state_dict())
    assert type(copy.copy(module._modules)) is dict


def test_what_may_have_no_elements_yet_is_no_obstacle() -> None:
    """A lazy module beside others, which forward does not call."""
    module = Calling(lambda m, x: x * m.weight).to(DEVICE)
    module.later = nn.LazyLinear(2)
    with torch.no_grad():
        assert module(torch.ones(4, device=DEVICE)).tolist() == [1.0] * 4


def test_data_of_a_weight_may_be_read() -> None:
    """In a plan, which knows whose elements they are."""
    module = Calling(lambda m, x: x * m.weight.data).to(DEVICE)
    with torch.no_grad():
        assert module(torch.ones(4, device=DEVICE)).tolist() == [1.0] * 4
        module.weight.fill_(3.0)
        assert module(torch.ones(4, device=DEVICE)).tolist() == [3.0] * 4
    assert djinn.last_call().cache_hit


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_attributes_that_were_copied_are_seen(copied: Callable[[Any], Any]) -> None:
    """As those that were set: a plan that was made for arguments without any knows nothing of them."""
    module = Calling(lambda m, x: x * getattr(x, "factor", 1.0) * m.weight).to(DEVICE)
    marked = torch.ones(4, device=DEVICE)
    marked.factor = 5.0
    with torch.no_grad():
        assert module(torch.ones(4, device=DEVICE)).tolist() == [1.0] * 4
        assert module(copied(marked)).tolist() == [5.0] * 4


def test_a_closure_and_a_default_are_seen() -> None:
    """What forward's function sees of the scope that made it."""
    factor = 2.0
    module, x = Calling(lambda module, x: x * factor * module.weight).to(DEVICE), torch.ones(4, device=DEVICE)
    with torch.no_grad():
        assert module(x).tolist() == [2.0] * 4
        factor = 3.0
        assert module(x).tolist() == [3.0] * 4


def test_a_class_with_another_forward_is_seen() -> None:
    """Patched after the first call."""

    class Patched(nn.Linear):
        pass

    module, x = Patched(4, 4).to(DEVICE), torch.ones(1, 4, device=DEVICE)
    with torch.no_grad():
        module(x)
        Patched.forward = lambda self, x: x * 2  # type: ignore[assignment,method-assign]
        assert module(x).tolist() == [[2.0] * 4]


def _appends(module: Any, x: torch.Tensor) -> torch.Tensor:
    module.kept.append(1)
    return x * len(module.kept) * module.weight


def _counts(module: Any, x: torch.Tensor) -> torch.Tensor:
    module.kept += 1
    return x * module.kept * module.weight


def _seeds(module: Any, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(7)
    return x * module.weight


def _restores(module: Any, x: torch.Tensor) -> torch.Tensor:
    torch.set_rng_state(_STATE)
    return x * module.weight


def _forks(module: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.random.fork_rng(device_type=x.device.type, devices=[0] if x.device.type != "cpu" else []):
        torch.manual_seed(7)
        return x * torch.rand(4, device=x.device) * module.weight


def _draws(module: Any, x: torch.Tensor) -> torch.Tensor:
    return x * random.random() * np.random.rand() * float(torch.rand(())) * module.weight


@pytest.mark.parametrize(
    ("function", "kept"),
    [
        (_appends, []),
        (_counts, 0),
        (_draws, None),
        (_seeds, None),
        (_restores, None),
        (_forks, None),
    ],
)
def test_side_effects_happen_once(function: Any, kept: Any) -> None:
    """Such calls run operation by operation, and what their simulation changed was put back."""

    def results(device: str) -> tuple[list[Any], Any]:
        module, x = Calling(function, kept=copy.copy(kept)).to(device), torch.ones(4, device=device)
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(3)
        with torch.no_grad():
            return [(module(x).tolist(), torch.rand(2).tolist()) for _ in range(6)], module.kept

    assert results("cpu") == results(DEVICE)
    assert any(reason.startswith("forward") for reason in djinn.stats()["fallbacks"])


def test_what_cannot_be_watched_is_not_planned() -> None:
    """An iterator hides where it stands; the reason names its type."""
    module = Calling(lambda module, x: x * next(module.kept) * module.weight, kept=iter([1.0, 2.0, 3.0])).to(DEVICE)
    with torch.no_grad():
        assert [module(torch.ones(1, device=DEVICE))[0].item() for _ in range(3)] == [1.0, 2.0, 3.0]
    rest = iter([1.0, 2.0, 3.0])
    module = Calling(lambda module, x: x * next(rest) * module.weight).to(DEVICE)
    with torch.no_grad():
        assert [module(torch.ones(1, device=DEVICE))[0].item() for _ in range(3)] == [1.0, 2.0, 3.0]
    assert any("list_iterator would not be noticed" in reason for reason in djinn.stats()["fallbacks"])


def test_settings_of_torch_are_part_of_the_key() -> None:
    """The default dtype, and which attention kernels are allowed."""
    halves = Calling(lambda module, x: x / 2 + torch.ones(1, device=x.device)).to(DEVICE)
    attending = Calling(lambda module, x: functional.scaled_dot_product_attention(x, x, x) * module.weight[0])
    x = torch.randn(1, 2, 33, 16)
    with torch.no_grad():
        for dtype in (torch.float32, torch.float64, torch.float32):
            torch.set_default_dtype(dtype)
            assert halves(torch.ones(1, dtype=torch.int32, device=DEVICE)).dtype == dtype
        remote = copy.deepcopy(attending).to(DEVICE)
        assert torch.equal(remote(x.to(DEVICE)).cpu(), attending(x))
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            assert torch.equal(remote(x.to(DEVICE)).cpu(), attending(x))


def test_a_default_device_is_no_obstacle_and_other_modes_are() -> None:
    """A mode wants to see the functions that forward calls."""
    seen = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    module, x = Calling(lambda module, x: x + torch.ones(4) * module.weight).to(DEVICE), torch.ones(4, device=DEVICE)
    with torch.no_grad():
        with torch.device(DEVICE):
            assert module(x).tolist() == [2.0] * 4
            assert module(x).tolist() == [2.0] * 4
            assert djinn.last_call().cache_hit
        module = _linear().to(DEVICE)
        with Mode():
            module(x[None])
    assert functional.linear in seen


@pytest.mark.parametrize("make", [torch.tensor, torch.inference_mode()(torch.tensor)], ids=["plain", "inference"])
def test_host_tensors_that_change_unseen_are_compared(make: Any) -> None:
    """By NumPy, or without a version."""
    index = make([0, 1])
    module = Calling(lambda module, x: x[index] * module.weight[:1]).to(DEVICE)
    x = torch.arange(4.0).to(DEVICE)
    with torch.inference_mode():
        assert module(x).tolist() == [0.0, 1.0]
        index.numpy()[:] = 3
        assert module(x).tolist() == [3.0, 3.0]


def test_values_that_are_equal_to_python_are_other_arguments() -> None:
    """Guards and keys tell them apart."""
    module = Calling(lambda module, named: next(iter(named))).to(DEVICE)
    summed = Calling(lambda module, x: (x * module.weight).sum().item()).to(DEVICE)
    x = torch.ones(4, device=DEVICE)
    with torch.no_grad():
        assert [repr(module({key: x})) for key in (1, True, 1.0, 1)] == ["1", "True", "1.0", "1"]
        angles = [complex(-1, 0.0), complex(-1, -0.0)]
        angle = Calling(lambda module, number: (torch.tensor([number], device=DEVICE) * 1).angle())
        assert [angle.to(DEVICE)(number).item() > 0 for number in angles] == [True, False]
        assert [repr(summed(torch.full_like(x, value))) for value in (1.0, float("nan"), 1.0)] == ["4.0", "nan", "4.0"]


def test_attributes_of_a_number_are_not_overlooked() -> None:
    """An instance of a subclass may have some, and so may slots be."""

    class Number(float):
        factor = 0.0

    class Both:
        __slots__ = ("__dict__", "factor")

    module, x = (
        Calling(lambda module, x, value: x * value.factor * module.weight).to(DEVICE),
        torch.ones(4, device=DEVICE),
    )
    with torch.no_grad():
        for kind in (lambda: Number(1.0), Both):
            for factor in (2.0, 3.0):
                value = kind()
                value.factor = factor
                assert module(x, value).tolist() == [factor] * 4
