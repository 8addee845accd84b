"""Ordinary tensor programs give bit for bit what native PyTorch gives; the CPU is the oracle."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import djinn
from support import DEVICE, on, tensors_in

pytestmark = pytest.mark.usefixtures("runtime")

Program = Callable[[str], Any]


def _values(device: str, *shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (10 * torch.randn(*shape, generator=generator)).to(dtype).to(device)


def _written(device: str) -> torch.Tensor:
    base = _values(device, 4, 6)
    view = base.t()[1:4]
    view.mul_(2)
    view[0] = -1.0
    base[:, 2:4].copy_(torch.zeros(4, 2))
    return base


def _indexed(device: str) -> list[torch.Tensor]:
    x = _values(device, 5, 7)
    rows = torch.tensor([3, 0, 3], device=device)
    return [
        x[rows],
        x[:, rows],
        x[x > 0],
        x[1:4, ::2],
        x[..., None, -1],
        x[rows, rows],
        x.take_along_dim(rows[:, None], 0),
    ]


def _assigned(device: str) -> torch.Tensor:
    x = _values(device, 5, 7)
    x[x < 0] = 0
    x[torch.tensor([0, 2], device=device)] = 7
    x.index_add_(0, torch.tensor([1, 1], device=device), torch.ones(2, 7, device=device))
    return x.masked_fill_(x > 8, 8.0)


def _out_form(device: str) -> torch.Tensor:
    out = torch.empty(4, 6, device=device)
    torch.add(_values(device, 4, 6), 1.0, out=out)
    return out


PROGRAMS: dict[str, Program] = {
    "factories": lambda d: [
        torch.zeros(2, 3, device=d),
        torch.ones(2, dtype=torch.int16, device=d),
        torch.full((2, 2), 7.5, device=d),
        torch.arange(3, 11, 2, device=d),
        torch.linspace(0, 1, 7, device=d),
        torch.eye(3, device=d),
        torch.tensor([[1, 2], [3, 4]], device=d),
        torch.zeros_like(_values(d, 3)),
    ],
    "arithmetic": lambda d: _values(d, 3, 4) * 2 + _values(d, 4, seed=1) - 0.5,
    "type promotion": lambda d: [
        torch.arange(4, device=d) + 0.5,
        torch.arange(4, device=d) / 2,
        torch.ones(2, dtype=torch.int8, device=d) + torch.ones(2, dtype=torch.int64, device=d),
        torch.ones(2, dtype=torch.float16, device=d) * torch.tensor(2.0, dtype=torch.float64),
    ],
    "comparison and logic": lambda d: (_values(d, 9) > 0) & (_values(d, 9, seed=1) < 1),
    "reductions": lambda d: [
        _values(d, 4, 5).sum(),
        _values(d, 4, 5).mean(1),
        _values(d, 4, 5).max(0),
        _values(d, 4, 5).argmin(),
        _values(d, 4, 5).std(),
        _values(d, 4, 5).cumsum(1),
        _values(d, 4, 5).norm(),
        torch.any(_values(d, 4, 5) > 100),
    ],
    "linear algebra": lambda d: [
        _values(d, 4, 5) @ _values(d, 5, 3),
        torch.bmm(_values(d, 2, 3, 4), _values(d, 2, 4, 5)),
        torch.linalg.inv(_values(d, 3, 3)),
        *torch.linalg.qr(_values(d, 4, 3)),
        *torch.linalg.svd(_values(d, 4, 3)),
        torch.linalg.solve(_values(d, 3, 3), _values(d, 3)),
        torch.einsum("ij,kj->ik", _values(d, 2, 3), _values(d, 4, 3)),
    ],
    "convolution and pooling": lambda d: functional.max_pool2d(
        functional.conv2d(_values(d, 1, 3, 12, 12), _values(d, 5, 3, 3, 3), _values(d, 5), padding=1), 2
    ),
    "attention": lambda d: functional.scaled_dot_product_attention(
        _values(d, 1, 2, 6, 8), _values(d, 1, 2, 6, 8, seed=1), _values(d, 1, 2, 6, 8, seed=2), is_causal=True
    ),
    "embedding": lambda d: functional.embedding(torch.tensor([[1, 0, 3]], device=d), _values(d, 5, 4)),
    "normalisation": lambda d: functional.layer_norm(_values(d, 3, 8), (8,), _values(d, 8), _values(d, 8)),
    "softmax and losses": lambda d: [
        functional.softmax(_values(d, 3, 5), -1),
        functional.cross_entropy(_values(d, 3, 5), torch.tensor([1, 0, 4], device=d)),
    ],
    "sorting": lambda d: [*torch.sort(_values(d, 3, 7), descending=True), *torch.topk(_values(d, 9), 3)],
    "shapes": lambda d: [
        torch.cat([_values(d, 2, 3), _values(d, 1, 3)]),
        torch.stack([_values(d, 3), _values(d, 3)], 1),
        *_values(d, 6, 2).chunk(3),
        *_values(d, 6, 2).split([1, 5]),
        _values(d, 2, 3, 4).permute(2, 0, 1).reshape(4, 6),
        _values(d, 2, 3).expand(4, 2, 3),
        _values(d, 4, 4).unfold(0, 2, 1),
        functional.pad(_values(d, 2, 2), (1, 2)),
    ],
    "indexing": _indexed,
    "assignment": _assigned,
    "writing through views": _written,
    "out=": _out_form,
    "unique and nonzero": lambda d: [torch.unique(torch.tensor([3, 1, 3], device=d)), torch.nonzero(_values(d, 5) > 0)],
    "where and clamp": lambda d: torch.where(_values(d, 6) > 0, _values(d, 6), 0.0).clamp(0, 5),
    "complex": lambda d: torch.fft.fft(_values(d, 8)),
    "channels last": lambda d: _values(d, 1, 3, 4, 4).to(memory_format=torch.channels_last) + 1,
    "bfloat16": lambda d: _values(d, 4, 8, dtype=torch.bfloat16) @ _values(d, 8, 3, dtype=torch.bfloat16),
    "empty tensors": lambda d: [torch.empty(0, 3, device=d).sum(0), _values(d, 3)[:0]],
    "dtype conversion": lambda d: [_values(d, 5).to(torch.int32), _values(d, 5).double(), _values(d, 5).bool()],
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_program_equals_native(name: str, mode: Callable[[], Any]) -> None:
    """Elements, dtypes, shapes and strides are those of the CPU."""
    with mode():
        expected, actual = tensors_in(PROGRAMS[name]("cpu")), tensors_in(PROGRAMS[name](DEVICE))
        assert len(expected) == len(actual)
        for want, got in zip(expected, actual, strict=True):
            assert got.device == torch.device(DEVICE)
            assert got.dtype == want.dtype
            assert got.stride() == want.stride()
            assert torch.equal(got.cpu().nan_to_num(), want.nan_to_num())


@torch.library.custom_op("djinn_tests::scaled_sine", mutates_args=())
def _scaled_sine(x: torch.Tensor, factor: float) -> torch.Tensor:
    return (x * factor).sin()


@torch.library.custom_op("djinn_tests::sine_on_hosts", mutates_args=(), device_types="cpu")
def _sine_on_hosts(x: torch.Tensor) -> torch.Tensor:
    return x.sin()


@pytest.mark.parametrize("is_planned", [False, True], ids=["singly", "planned"])
def test_operators_of_others_run_as_what_they_are_written_in(is_planned: bool) -> None:
    """Where they are written for any device."""

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("offset", torch.ones(1))

        def forward(self, x: torch.Tensor) -> Any:
            return _scaled_sine(x, 2.0) + self.offset

    x = torch.arange(4.0)
    with torch.no_grad():
        if is_planned:
            assert torch.equal(Module().to(DEVICE)(x.to(DEVICE)).cpu(), Module()(x))
        else:
            assert torch.equal(_scaled_sine(x.to(DEVICE), 2.0).cpu(), _scaled_sine(x, 2.0))


VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "transposed": lambda x: x.t(),
    "sliced": lambda x: x[:1],
    "reshaped": lambda x: x.reshape(-1),
    "split": lambda x: x.split(1)[1],
    "expanded": lambda x: x[None].expand(3, -1, -1),
    "detached": lambda x: x.detach(),
    "its data": lambda x: x.data,
    "complex": torch.view_as_complex,
    "written in part": lambda x: x[:1].mul_(2),
    "assigned in part": lambda x: x.__setitem__(0, 5.0) or x,  # type: ignore[func-returns-value]
    "written whole": lambda x: x.add_(1),
    "of another shape": lambda x: x.unsqueeze_(0),
    "set to another": lambda x: x.set_(torch.zeros(3, 2, device=x.device)),
    "computed with": lambda x: x @ x,
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("is_planned", [False, True], ids=["singly", "planned"])
def test_inference_mode_takes_tensors_from_outside(name: str, is_planned: bool) -> None:
    """What it makes of them is of the sort that the CPU's is: their views are ordinary tensors, results are not."""

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("value", torch.tensor([[1.0, 2.0], [3.0, 4.0]]))

        def forward(self) -> Any:
            return VIEWS[name](self.get_buffer("value"))

    native, remote = Module(), Module().to(DEVICE)
    with torch.inference_mode():
        expected = native()
        actual = remote() if is_planned else VIEWS[name](remote.get_buffer("value"))
        assert torch.equal(actual.cpu(), expected)
    assert torch.equal(remote.get_buffer("value").cpu(), native.get_buffer("value"))
    if not is_planned:
        assert actual.is_inference() == expected.is_inference()


@pytest.mark.parametrize(
    "draw",
    [
        lambda d: torch.randn(3, 4, device=d),
        lambda d: torch.rand(5, device=d),
        lambda d: torch.randint(0, 100, (6,), device=d),
        lambda d: torch.randperm(9, device=d),
        lambda d: torch.empty(4, device=d).normal_(2, 3),
        lambda d: torch.bernoulli(torch.full((8,), 0.5, device=d)),
    ],
)
def test_seeded_random_numbers_equal_native(draw: Program) -> None:
    """`torch.manual_seed` seeds the device too, and the sequences are the CPU's."""
    torch.manual_seed(11)
    expected = [draw("cpu") for _ in range(2)]
    torch.manual_seed(11)
    actual = [draw(DEVICE).cpu() for _ in range(2)]
    assert all(torch.equal(want, got) for want, got in zip(expected, actual, strict=True))


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("is_planned", [False, True])
def test_the_default_dtype_is_that_of_the_process(default: torch.dtype, is_planned: bool) -> None:
    """In which operators compute fractions of integers, and which new tensors have."""

    def program(x: torch.Tensor) -> list[torch.Tensor]:
        thirds = torch.ones(2, device=x.device) / 3
        return [x / 3, x.sqrt(), x * 1.5, x.float().mean() * 1, torch.where(x > 1, 0.1, 0.3), x.true_divide(7), thirds]

    module = torch.nn.Module()
    module.register_buffer("unused", torch.zeros(1))
    module.forward = program  # type: ignore[method-assign]
    remote = module.to(DEVICE) if is_planned else program
    x = torch.arange(1, 4)
    torch.set_default_dtype(default)
    try:
        with torch.no_grad():
            expected = program(x)
            for _ in range(2):
                for got, want in zip(remote(x.to(DEVICE)), expected, strict=True):
                    assert got.dtype == want.dtype
                    assert torch.equal(got.cpu(), want)
    finally:
        torch.set_default_dtype(torch.float32)
    assert (x.to(DEVICE) / 3).dtype == torch.float32


def test_results_come_back_as_python_and_numpy() -> None:
    """`.item()`, `.tolist()` and NumPy through the CPU."""
    x = torch.tensor([[1.5, 2.0]], device=DEVICE)
    assert x.sum().item() == 3.5
    assert x.tolist() == [[1.5, 2.0]]
    np.testing.assert_array_equal(x.cpu().numpy(), np.array([[1.5, 2.0]], dtype=np.float32))


def test_repr_shows_elements_and_device() -> None:
    """Printing a tensor shows what it holds."""
    text = repr(torch.tensor([1.0, 2.0], device=DEVICE))
    assert text == f"tensor([1., 2.], device='{DEVICE}')"


def test_a_view_is_an_alias() -> None:
    """Writing to one shows in the other, on the device as on the CPU."""
    base = torch.zeros(4, device=DEVICE)
    view = base[1:3]
    view.add_(5)
    assert base.tolist() == [0, 5, 5, 0]
    base.fill_(1)
    assert view.tolist() == [1, 1]


def test_copies_are_independent() -> None:
    """`clone` and `deepcopy` do not alias."""
    x = torch.ones(3, device=DEVICE)
    for copied in (x.clone(), copy.deepcopy(x)):
        copied.add_(1)
        assert x.tolist() == [1, 1, 1]
        assert copied.tolist() == [2, 2, 2]


def test_saving_goes_through_the_cpu() -> None:
    """State dictionaries of module and optimizer are saved as they are, and loaded on the host or back on the device."""
    layer = torch.nn.Linear(3, 2).to(DEVICE)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3).to(DEVICE)).sum().backward()
    optimizer.step()
    for place in (None, DEVICE):
        buffer = io.BytesIO()
        torch.save({"layer": layer.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
        buffer.seek(0)
        loaded = torch.load(buffer, weights_only=True, map_location=place)
        assert loaded["layer"]["weight"].device == torch.device(place or "cpu")
        other = torch.nn.Linear(3, 2).to(DEVICE)
        other.load_state_dict(loaded["layer"])
        assert all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(layer.parameters(), other.parameters(), strict=True))
        optimizer.load_state_dict(loaded["optimizer"])
        assert optimizer.state[layer.weight]["exp_avg"].device == torch.device(DEVICE)


def test_a_pickled_module_is_one_of_the_host() -> None:
    """With its tied parameters tied, and what was attached to them; it computes where it is without a runtime."""
    module = (
        torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 3)).to(DEVICE).eval()
    )
    module[2].weight = module[0].weight
    module[0].bias.requires_grad_(False).group = "first"
    loaded = pickle.loads(pickle.dumps(module))  # noqa: S301 - made right here
    assert loaded[2].weight is loaded[0].weight
    assert isinstance(loaded[0].bias, torch.nn.Parameter)
    assert (loaded[0].bias.requires_grad, loaded[0].bias.group) == (False, "first")
    x = torch.rand(2, 3)
    with torch.no_grad():
        assert torch.equal(loaded(x), module(x.to(DEVICE)).cpu())


class _Called(torch.nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return self.function(value)


@pytest.mark.parametrize("is_planned", [False, True], ids=["operation by operation", "planned"])
@pytest.mark.parametrize("size", [3, 100])
@pytest.mark.parametrize(
    "function",
    [
        lambda z: z.conj(),
        lambda z: z.conj() * z,
        lambda z: z.conj().imag,
        lambda z: z.conj().imag + 1,
        lambda z: z.mH @ z,
        lambda z: torch._neg_view(z.real),
        lambda z: torch.view_as_real(z.conj().resolve_conj()),
    ],
    ids=["conjugate", "product", "negated", "sum", "adjoint", "negative view", "resolved"],
)
def test_conjugates_are_conjugate(function: Any, size: int, is_planned: bool) -> None:
    """Where native torch only marks a view, the elements that are fetched and computed with are conjugate all the same."""
    source = torch.randn(size, size, dtype=torch.complex64)
    remote = source.to(DEVICE)
    call = _Called(function).to(DEVICE) if is_planned else function
    expected = function(source).resolve_conj().resolve_neg()
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(call(remote).cpu(), expected)


@pytest.mark.parametrize("size", [3, 5_000])
@pytest.mark.parametrize(
    "view",
    [
        lambda z: z.conj(),
        lambda z: z.conj().imag,
        lambda z: z.real[::2],
        lambda z: z.reshape(1, -1).t(),
        lambda z: z.detach().requires_grad_(),
    ],
    ids=["conjugate", "negated", "strided", "transposed", "with gradient"],
)
def test_whatever_view_is_uploaded_its_elements_arrive(view: Any, size: int) -> None:
    """Small tensors travel with a request, large ones in a message of their own; some views only mark what they change."""
    source = view(torch.randn(size, dtype=torch.complex64))
    uploaded = source.to(DEVICE)
    assert torch.equal(uploaded.detach().cpu(), source.detach().resolve_conj().resolve_neg())
    assert (uploaded.shape, uploaded.dtype) == (source.shape, source.dtype)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (lambda x: x.to_sparse(), r"aten\._to_sparse.*move the operands to the CPU"),
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), r"aten\.quantize_per_tensor.*torch\.qint8"),
        (lambda x: torch.randn(3, device=x.device, generator=torch.Generator()), r"aten\.normal_.*torch\.manual_seed"),
        (_sine_on_hosts, r"djinn_tests\.sine_on_hosts.*move its operands to the CPU"),
        (lambda x: x.set_(x.untyped_storage(), 1, (2,), (1,)), r"set it to a tensor"),
        (lambda x: torch.nn.LazyLinear(2).to(x.device), r"lazy module.*call it once on the CPU"),
        (lambda x: torch.autocast(x.device.type).__enter__(), r"autocast is not supported.*\.to\(dtype\)"),
    ],
)
def test_what_is_not_supported_says_so_with_a_remedy(program: Any, message: str) -> None:
    """NotImplementedError with the operator's name, never a wrong result."""
    with pytest.raises(NotImplementedError, match=message):
        program(torch.ones(3, 3, device=DEVICE))


def test_elements_reach_numpy_and_text_as_on_every_accelerator() -> None:
    """NumPy only by way of the host, format specifications on scalars."""
    x = torch.tensor([1.25], device=DEVICE)
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\)"):
        x.numpy()
    assert x.numpy(force=True).tolist() == [1.25]
    assert f"{x[0]:.1f}" == "1.2"
    torch.remote_accelerator.synchronize()


def test_operands_on_different_devices_are_refused() -> None:
    """As torch does, with the operator and the remedy; scalars of dimension 0 pass."""
    remote = torch.ones(2, device=DEVICE)
    with pytest.raises(djinn.DeviceMismatchError, match=r"remote_accelerator:0 and cpu.*aten.add.*\.to\(\)"):
        remote + torch.ones(2)
    assert (remote + torch.tensor(1.0)).tolist() == [2, 2]


@pytest.mark.parametrize(
    "program",
    [
        lambda d: torch.ones(2, 3, device=d) @ torch.ones(2, 3, device=d),
        lambda d: torch.ones(2, device=d)[5],
        lambda d: torch.ones(2, 3, device=d).view(5),
        lambda d: torch.cat([torch.ones(2, 3, device=d), torch.ones(2, 4, device=d)]),
    ],
)
def test_errors_are_those_of_native(program: Program) -> None:
    """The same exception class; the server lives on."""
    with pytest.raises(Exception) as native:
        program("cpu")
    with pytest.raises(type(native.value)):
        program(DEVICE)
    assert torch.ones(1, device=DEVICE).item() == 1


def test_autograd_equals_native() -> None:
    """Gradients, hooks and accumulation."""

    def gradients(device: str) -> list[torch.Tensor]:
        x = on(device, _values("cpu", 3, 4)).requires_grad_()
        w = on(device, _values("cpu", 4, 2, seed=1)).requires_grad_()
        seen: list[torch.Tensor] = []
        hidden = x @ w
        hidden.register_hook(lambda gradient: seen.append(gradient.cpu()))
        hidden.tanh().sum().backward()
        (x * x).sum().backward()
        assert x.grad is not None
        assert w.grad is not None
        return [x.grad.cpu(), w.grad.cpu(), *seen]

    for want, got in zip(gradients("cpu"), gradients(DEVICE), strict=True):
        assert torch.equal(want, got)


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.AdamW])
def test_training_equals_native(optimiser: Any) -> None:
    """Three steps of a small network leave the CPU's weights, bit for bit."""

    def train(device: str) -> list[torch.Tensor]:
        torch.manual_seed(3)
        model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.GELU(), torch.nn.Linear(8, 3)).to(device)
        steps = optimiser(model.parameters(), lr=0.1)
        inputs, targets = on(device, _values("cpu", 5, 6)), torch.tensor([0, 1, 2, 1, 0], device=device)
        for _ in range(3):
            steps.zero_grad()
            functional.cross_entropy(model(inputs), targets).backward()
            steps.step()
        return [parameter.detach().cpu() for parameter in model.parameters()]

    for want, got in zip(train("cpu"), train(DEVICE), strict=True):
        assert torch.equal(want, got)


def _accumulated_on_host(remote: torch.Tensor) -> torch.Tensor:
    total = torch.tensor(0.0)
    total += remote.sum()
    return total


def _assigned_on_host(remote: torch.Tensor) -> torch.Tensor:
    host = torch.zeros(3)
    host[remote > 0] = 5
    return host


@pytest.mark.parametrize(
    "program",
    [
        _accumulated_on_host,
        _assigned_on_host,
        lambda x: torch.sum(x, 0, out=torch.tensor(0.0)),
        lambda x: torch.ones(3)[x > 0],
        lambda x: torch.stack([x[0], torch.tensor(1.0)]),
        lambda x: functional.embedding(torch.tensor(1), x[:, None]),
        lambda x: x.index_select(0, torch.tensor(0)),
        lambda x: x + torch.ones(3, device="meta"),
    ],
)
def test_host_tensors_are_neither_written_nor_taken_where_torch_takes_none(program: Any) -> None:
    """Numbers in the form of tensors are for elementwise operators alone."""
    with pytest.raises(djinn.DeviceMismatchError):
        program(torch.ones(3, device=DEVICE))


def test_numbers_in_the_form_of_tensors_are_taken_where_torch_takes_them() -> None:
    """By elementwise operators, and as what is filled in."""
    x, two = torch.arange(3.0).to(DEVICE), torch.tensor(2.0)
    assert (two - x).tolist() == [2, 1, 0]
    assert torch.where(x > 0, x, two).tolist() == [2, 1, 2]
    assert x.masked_fill(x > 1, two + 5).tolist() == [0, 1, 7]
    x[0] = two
    assert torch.lerp(x, x + 2, two / 4).tolist() == [3, 2, 3]


def test_there_is_one_device_and_meta_tensors_have_no_elements() -> None:
    """Other numbers are errors, not the same device."""
    for make in (lambda d: torch.ones(2, device=d), torch.ones(2).to, torch.ones(2, device=DEVICE).to):
        with pytest.raises(RuntimeError, match="does not exist"):
            make("remote_accelerator:1")
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        torch.ones(3, device=DEVICE).copy_(torch.ones(3, device="meta"))


def _shared(device: str) -> list[torch.Tensor]:
    x = _values(device, 3)
    return [copy.copy(x).add_(1), x]


def _viewed(device: str) -> list[torch.Tensor]:
    x = _values(device, 3)
    copied, view = copy.deepcopy([x, x[1:]])
    return [copied.add_(1), view, x]


OTHER_PROGRAMS: dict[str, Program] = {
    "empty uploads": lambda d: [torch.zeros(3, 0).to(d) + 1, torch.zeros(0, 3).to(d).sum(0), torch.zeros(0, 0).to(d)],
    "triangles": lambda d: [torch.tril_indices(3, 4, device=d), torch.triu_indices(3, 4, 1, device=d)],
    "scalars in a list": lambda d: torch.tensor([torch.tensor(1.5, device=d), 2.0], device=d),
    "set": lambda d: _values(d, 2).set_(_values(d, 3, 4)),
    "copies share": _shared,
    "views of copies": _viewed,
    "strides of copies": lambda d: copy.deepcopy(_values(d, 3, 4)[:, ::2]),
}


@pytest.mark.parametrize("name", OTHER_PROGRAMS)
def test_less_common_programs_equal_native(name: str) -> None:
    """Elements, dtypes, shapes and strides are those of the CPU."""
    for want, got in zip(
        tensors_in(OTHER_PROGRAMS[name]("cpu")), tensors_in(OTHER_PROGRAMS[name](DEVICE)), strict=True
    ):
        assert got.device == torch.device(DEVICE)
        assert (got.dtype, got.shape, got.stride()) == (want.dtype, want.shape, want.stride())
        assert torch.equal(got.cpu(), want)


def test_attributes_of_tensors_are_copied_as_torch_copies_them() -> None:
    """Of plain tensors, not of parameters."""
    plain, parameter = torch.ones(2, device=DEVICE), torch.nn.Parameter(torch.ones(2, device=DEVICE))
    plain.note = parameter.note = ["kept"]  # type: ignore[attr-defined]
    assert copy.deepcopy(plain).note == ["kept"]
    assert copy.copy(plain).note is plain.note
    assert not hasattr(copy.deepcopy(parameter), "note")
    assert isinstance(copy.copy(parameter), torch.nn.Parameter)


def test_loading_places_tensors_on_the_device() -> None:
    """Named as text, as a device or for one location; tensors that shared elements do so again."""
    base, buffer = torch.arange(6.0), io.BytesIO()
    torch.save(
        {
            "base": base,
            "view": base.view(2, 3).t(),
            "parameter": torch.nn.Parameter(base[1:3]),
            "count": torch.tensor(7),
        },
        buffer,
    )
    for place in (DEVICE, torch.device(DEVICE), {"cpu": DEVICE}):
        buffer.seek(0)
        loaded = torch.load(buffer, map_location=place, weights_only=True)
        assert all(tensor.device == torch.device(DEVICE) for tensor in loaded.values())
        assert torch.equal(loaded["view"].cpu(), base.view(2, 3).t())
        assert isinstance(loaded["parameter"], torch.nn.Parameter)
        assert (loaded["count"].item(), loaded["count"].shape) == (7, ())
        loaded["base"].add_(1)
        assert loaded["view"][0].tolist() == [1, 4]


def test_text_is_that_of_native_with_the_device() -> None:
    """Gradient functions, parameters, dtypes and sizes, in torch's order."""
    x = torch.ones(2, device=DEVICE, requires_grad=True)
    assert repr(x * 2) == f"tensor([2., 2.], device='{DEVICE}', grad_fn=<MulBackward0>)"
    assert (
        repr(torch.nn.Parameter(x)) == f"Parameter containing:\ntensor([1., 1.], device='{DEVICE}', requires_grad=True)"
    )
    assert repr(torch.zeros(0, 3, dtype=torch.int8).to(DEVICE)) == (
        f"tensor([], device='{DEVICE}', size=(0, 3), dtype=torch.int8)"
    )


def test_failures_of_linear_algebra_keep_their_class() -> None:
    """As torch's own callers expect to catch them."""
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.inv(torch.zeros(3, 3, device=DEVICE))


def test_lengths_of_a_ctc_loss_may_lie_on_the_host() -> None:
    """And the gradient is the CPU's."""

    def losses(device: str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        scores = torch.randn(10, 2, 5).log_softmax(2).to(device).requires_grad_()
        targets = torch.tensor([[1, 2, 3], [1, 1, 2]]).to(device)
        loss = functional.ctc_loss(scores, targets, torch.tensor([10, 10]), torch.tensor([3, 3]))
        loss.backward()
        assert scores.grad is not None
        return [loss.detach().cpu(), scores.grad.cpu()]

    for want, got in zip(losses("cpu"), losses(DEVICE), strict=True):
        assert torch.equal(want, got)


@pytest.mark.parametrize("name", ["spectral_norm", "orthogonal", "weight_norm"])
def test_parametrizations_equal_native(name: str) -> None:
    """Registered on the device, and moved there."""
    torch.manual_seed(0)
    native = getattr(torch.nn.utils.parametrizations, name)(torch.nn.Linear(4, 4))
    remote, x = copy.deepcopy(native).to(DEVICE), torch.ones(1, 4)
    getattr(torch.nn.utils.parametrizations, name)(torch.nn.Linear(4, 4).to(DEVICE))
    with torch.no_grad():
        for _ in range(3):
            assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.t_(),
        lambda t: t.unsqueeze_(0),
        lambda t: t.resize_(1, 2),
        lambda t: t.as_strided_((2,), (1,), 1),
        lambda t: t.transpose_(0, 1).squeeze_().add_(1),
    ],
)
@pytest.mark.parametrize("part", [lambda t: t.data, lambda t: t.detach(), lambda t: torch.nn.Parameter(t).data])
def test_a_shape_that_is_changed_in_place_is_changed_of_one_tensor(change: Any, part: Any) -> None:
    """Those over the same elements keep theirs."""

    def results(device: str) -> list[Any]:
        whole = torch.arange(6.0).view(2, 3).to(device)
        changed = part(whole)
        change(changed)
        return [x.tolist() for x in (whole, whole + 1, whole[0], changed, changed * 2)] + [whole.shape, changed.shape]

    assert results("cpu") == results(DEVICE)
