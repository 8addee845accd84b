"""The short way of host tensors to the device gives what torch's own way gives, and is left where more than elements matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import djinn
from djinn.device import moving
from djinn.device.tensor import RemoteTensor
from djinn.device.transfer import placing_weights
from djinn.errors import SessionClosedError, UnsupportedOperatorError
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture
def torch_is_asked(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Return the tensors that go torch's own way."""
    asked: list[torch.Tensor] = []
    torch_to = moving._torch_to

    def noted(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        asked.append(self)
        return torch_to(self, *args, **kwargs)

    monkeypatch.setattr(moving, "_torch_to", noted)
    return asked


SHORT: dict[str, Callable[[], torch.Tensor]] = {
    "a token": lambda: torch.tensor([[7]]),
    "a scalar": lambda: torch.tensor(2.5, dtype=torch.float16),
    "nothing": lambda: torch.empty(3, 0, 2),
    "a part of a larger one": lambda: torch.arange(20.0)[5:9],
    "strides of one element": lambda: torch.arange(6.0).as_strided((1, 3, 1), (17, 1, 5)),
    "booleans": lambda: torch.tensor([True, False]),
    "complex numbers": lambda: torch.tensor([1 + 2j, 3 - 1j]),
    "what autograd recorded": lambda: torch.arange(3.0).requires_grad_().mul(2).detach(),
}
LONG: dict[str, Callable[[], torch.Tensor]] = {
    "columns": lambda: torch.arange(6.0).view(2, 3).T,
    "every second": lambda: torch.arange(6)[::2],
    "repeated": lambda: torch.ones(1).expand(4),
    "a conjugate": lambda: torch.tensor([1 + 2j]).conj(),
    "a negative": lambda: torch.tensor([1 + 2j]).conj().imag,
    "no memory": lambda: torch._efficientzerotensor((2,)),
    "many elements": lambda: torch.arange(100_000),
    "a parameter": lambda: torch.nn.Parameter(torch.ones(2), requires_grad=False),
    "one that records": lambda: torch.ones(2, requires_grad=True),
}


@pytest.mark.parametrize("name", [*SHORT, *LONG])
@pytest.mark.parametrize("is_inference", [False, True])
def test_both_ways_end_alike(name: str, is_inference: bool) -> None:
    """Elements, metadata and what autograd knows are what torch's own way gives."""
    with torch.inference_mode(is_inference):
        source = (SHORT | LONG)[name]()
        moved, expected = source.to(DEVICE), moving._torch_to(source, DEVICE)
    assert type(moved) is type(expected) is RemoteTensor
    assert torch.equal(moved.cpu(), source)
    for attribute in ("shape", "dtype", "device", "requires_grad", "is_leaf", "grad_fn"):
        assert (
            str(getattr(moved, attribute)).split(" object")[0] == str(getattr(expected, attribute)).split(" object")[0]
        )
    assert moved.stride() == expected.stride()
    assert moved.storage_offset() == expected.storage_offset()
    assert moved.is_inference() == expected.is_inference()


@pytest.mark.parametrize("name", [DEVICE, "remote_accelerator"])
@pytest.mark.parametrize("kind", [str, torch.device])
@pytest.mark.parametrize("options", [{}, {"non_blocking": True}])
def test_small_tensors_go_the_short_way(
    torch_is_asked: list[torch.Tensor], name: str, kind: type[Any], options: dict[str, bool]
) -> None:
    """However the device is written."""
    for make in SHORT.values():
        assert isinstance(make().to(kind(name), **options), RemoteTensor)
    assert torch_is_asked == []


@pytest.mark.parametrize("name", LONG)
def test_others_go_the_way_of_torch(torch_is_asked: list[torch.Tensor], name: str) -> None:
    """Their bytes are not their elements in order, or something else belongs to them."""
    source = LONG[name]()
    source.to(DEVICE)
    assert torch_is_asked[0] is source


def test_a_gradient_comes_back_over_the_way() -> None:
    """What records is recorded."""
    source = torch.ones(2, requires_grad=True)
    source.to(DEVICE).mul(3).sum().backward()
    assert source.grad is not None
    assert source.grad.tolist() == [3.0, 3.0]


def test_the_tensor_is_made_in_the_current_session() -> None:
    """As one that torch makes there is."""
    with djinn.session(arena_mb=1):
        moved = torch.ones(4).to(DEVICE)
        assert moved.sum().item() == 4
    with pytest.raises(SessionClosedError):
        moved.cpu()


def test_the_source_may_change_at_once() -> None:
    """The elements are those of the moment."""
    source = torch.zeros(2)
    moved = source.to(DEVICE)
    source.fill_(9)
    assert moved.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("mode", [TorchFunctionMode, TorchDispatchMode])
def test_modes_see_every_move(mode: type[Any]) -> None:
    """Whoever watches torch's calls sees this one."""
    seen = []

    def note(self: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        seen.append(func)
        return func(*args, **(kwargs or {}))

    handler = "__torch_function__" if mode is TorchFunctionMode else "__torch_dispatch__"
    source = torch.ones(2)
    with type("Watching", (mode,), {handler: note})():
        source.to(DEVICE)
    assert (torch.Tensor.to if mode is TorchFunctionMode else torch.ops.aten._to_copy.default) in seen


def test_a_tangent_goes_along() -> None:
    """In forward mode a plain tensor may have one."""
    with forward_ad.dual_level():
        moved = forward_ad.make_dual(torch.ones(2), torch.full((2,), 3.0)).to(DEVICE)
        tangent = forward_ad.unpack_dual(moved).tangent
        assert tangent is not None
        assert tangent.tolist() == [3.0, 3.0]


def test_a_dtype_that_the_device_does_not_hold_is_refused_as_before() -> None:
    """At once, not with the first use."""
    with pytest.raises(UnsupportedOperatorError, match="float8_e5m2 are not held"):
        torch.zeros(2, dtype=torch.float8_e5m2).to(DEVICE)


def test_a_buffer_of_a_module_that_moves_is_a_weight() -> None:
    """It lies in the Text segment, where others with the same elements share it."""
    with placing_weights():
        moved = torch.arange(5.0).to(DEVICE)
    assert isinstance(moved, RemoteTensor)
    assert moved.handle.pending is None, "it waits for its first use, which is not how weights are placed"


def test_a_move_may_do_something_else_too() -> None:
    """Then it is torch's."""
    source = torch.ones(2)
    assert source.to(DEVICE, dtype=torch.float64).dtype is torch.float64
    assert source.to(DEVICE, torch.int32).dtype is torch.int32
    copied = source.to(DEVICE, copy=True)
    assert copied.tolist() == [1.0, 1.0]


def test_subclasses_keep_their_say() -> None:
    """A subclass's own handling of `to` comes first."""

    class Stubborn(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return "stays" if func is torch.Tensor.to else super().__torch_function__(func, types, args, kwargs or {})

    assert torch.ones(2).as_subclass(Stubborn).to(DEVICE) == "stays"


TRANSFORMS: dict[str, Callable[..., Any]] = {
    "vmap": torch.vmap,
    "grad": torch.func.grad,
    "jvp": lambda function: lambda value: torch.func.jvp(function, (value,), (torch.ones_like(value),)),
    "functionalize": torch.func.functionalize,
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_go_through_both_ways_alike(name: str) -> None:
    """Inside one, what it transforms looks plain, but is not; what it does not, is."""
    value, constant = torch.arange(6.0).view(3, 2), torch.tensor([2.0, 3.0])

    def along(move: Callable[[torch.Tensor, str], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda part: (part.sum() * move(part, DEVICE).cpu() * move(constant, DEVICE).cpu()).sum()

    ended, expected = (TRANSFORMS[name](along(move))(value) for move in (moving.to, moving._torch_to))
    for one, other in zip(*((each if isinstance(each, tuple) else (each,)) for each in (ended, expected)), strict=True):
        assert torch.equal(one, other)


def test_a_traced_move_is_in_the_trace() -> None:
    """A trace without it would have kept the elements of its example."""
    traced = torch.jit.trace(lambda value: value.to(DEVICE).cpu() + 1, torch.zeros(2), check_trace=False)
    assert torch.equal(traced(torch.ones(2)), torch.full((2,), 2.0))


@pytest.mark.parametrize("target", ["cpu", torch.float16])
def test_lazy_modules_move_on_the_host(target: Any) -> None:
    """What has no elements yet knows by identity which functions it allows."""
    assert "LazyLinear" in str(torch.nn.LazyLinear(2).to(target))


def test_the_class_has_the_function_of_torch() -> None:
    """Subclasses keep tables of functions, made before this package is imported or after."""
    assert torch.Tensor.to is torch._C.TensorBase.to


def test_a_device_that_does_not_exist_is_refused_as_before() -> None:
    """There is one of this type."""
    with pytest.raises(RuntimeError, match="does not exist"):
        torch.ones(2).to("remote_accelerator:1")


@pytest.mark.parametrize(
    "arguments", [(torch.float64,), ("cpu",), ("cpu", torch.int32), (torch.ones(1, dtype=torch.int16),), ("meta",)]
)
def test_other_moves_are_those_of_torch(arguments: tuple[Any, ...]) -> None:
    """Nothing changes for programs without this device."""
    source = torch.tensor([1.0, 2.0])
    moved, expected = source.to(*arguments), moving._torch_to(source, *arguments)
    assert (moved.dtype, moved.device, moved.shape) == (expected.dtype, expected.device, expected.shape)
    assert (moved is source) == (expected is source)


def test_a_tensor_of_another_device_stays_there() -> None:
    """What is here already is not moved again."""
    moved = torch.ones(2).to(DEVICE)
    assert moved.to(DEVICE) is moved
