"""Operation by operation: what happens to an ATen call whose operands are remote tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from djinn.device.aliasing import alias, set_to_storage, set_to_tensor
from djinn.device.composites import COMPOSITES
from djinn.device.operations import run
from djinn.device.tensor import DEVICE, RemoteTensor, is_own_device
from djinn.device.transfer import become, can_become, download, upload
from djinn.errors import UnsupportedOperatorError
from djinn.tracing import Facts, decompose, facts_of

aten = torch.ops.aten
_HOST = torch.device("cpu")
_DERIVATIVE_KEYS = ("Autograd", "AutogradPrivateUse1", "CompositeImplicitAutograd")
# Facts about overloads of which every call without a device is one operation on this one, by their `id`: to hash an
# overload takes as long as sending some calls. ATen's overloads live as long as the process.
_plain: dict[int, Facts] = {}


def dispatch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run one operation.

    Raises:
        DeviceMismatchError: a host tensor with dimensions among the operands.
        UnsupportedOperatorError: an operator or operand that the device does not take.
        Exception: what the operator itself raises.
    """
    facts = _plain.get(id(func))
    if facts is not None and "device" not in kwargs:
        return run(facts, args, kwargs)
    special = _SPECIAL.get(func)
    if special is not None:
        return special(*args, **kwargs)
    if func.namespace != "aten" and torch.is_grad_enabled() and not _has_derivative(func) and _records(args):
        raise UnsupportedOperatorError(f"Operator {func} registers no derivative; call it under torch.no_grad().")
    facts = facts_of(func)
    if facts.is_composite or func in COMPOSITES:
        own = COMPOSITES.get(func)
        result = decompose(func, args, kwargs) if own is None else own(*args, **kwargs)
        if result is not NotImplemented:
            return result
    if func.namespace != "aten":
        raise UnsupportedOperatorError(f"Operator {func} is not run on {DEVICE}; move its operands to the CPU.")
    device = kwargs.get("device")
    if device is not None and not is_own_device(device):
        return _run_on_host(func, args, kwargs)
    if not facts.is_composite and func not in COMPOSITES:
        _plain[id(func)] = facts
    return run(facts, args, kwargs)


def _has_derivative(func: Any) -> bool:
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key) for key in _DERIVATIVE_KEYS)


def _records(operands: tuple[Any, ...]) -> bool:
    return any(isinstance(operand, torch.Tensor) and operand.requires_grad for operand in operands)


def _run_on_host(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operation whose result shall lie on the host, such as `zeros_like(x, device="cpu")`.

    Only factories name a device; they read their operands' metadata alone.
    """

    def stand_in(value: Any) -> Any:
        return _meta_tensor(value) if isinstance(value, RemoteTensor) else value

    return func(*(stand_in(value) for value in args), **{name: stand_in(value) for name, value in kwargs.items()})


def _meta_tensor(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _to_copy(source: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    device = kwargs.get("device")
    if device is None or is_own_device(device):
        result: torch.Tensor = run(
            facts_of(aten._to_copy.default), (source,), {k: v for k, v in kwargs.items() if k != "device"}
        )
        return result
    assert isinstance(source, RemoteTensor), "a host tensor reached the device's copy"
    host = download(source)
    if source.is_contiguous() and kwargs.get("dtype", source.dtype) == source.dtype and device == _HOST:
        return host
    # What torch would return keeps the source's strides where they are dense; `empty_like` knows that rule.
    layout_kwargs = {k: v for k, v in kwargs.items() if k in ("dtype", "memory_format")}
    return torch.empty_like(_meta_tensor(source), device=device, **layout_kwargs).copy_(host)


def copy_(destination: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """Copy elements between tensors of which at least one is on the device.

    Raises:
        UnsupportedOperatorError: the source has no elements, or not yet.
    """
    if not isinstance(destination, RemoteTensor):
        assert isinstance(source, RemoteTensor), "a copy between host tensors reached the device"
        return destination.copy_(download(source))
    if is_lazy(source):
        raise UnsupportedOperatorError(
            f"A lazy module has no elements yet that could lie on {DEVICE}; call it once on the CPU, then move it with .to()."
        )
    if source.device.type == "meta":
        raise UnsupportedOperatorError("Cannot copy out of meta tensor; no data! Make its elements first.")
    if not isinstance(source, RemoteTensor):
        if can_become(destination, source):
            become(destination, source)
            return destination
        source = upload(source)
    result: torch.Tensor = run(facts_of(aten.copy_.default), (destination, source), {})
    return result


def _pack_padded_sequence(source: torch.Tensor, lengths: torch.Tensor, batch_first: bool) -> Any:
    data, _ = run(facts_of(aten._pack_padded_sequence.default), (source, lengths, batch_first), {})
    shape = source.shape[:2] if not batch_first else source.shape[:2][::-1]
    _, batch_sizes = aten._pack_padded_sequence.default(torch.empty(*shape, 1), lengths, False)
    return data, batch_sizes


_SPECIAL: dict[Any, Callable[..., Any]] = {
    aten._to_copy.default: _to_copy,
    aten.copy_.default: copy_,
    aten.detach.default: alias,
    aten.alias.default: alias,
    aten.lift_fresh.default: lambda source: source,
    aten.lift.default: lambda source: source,
    aten.set_.source_Tensor: set_to_tensor,
    aten.set_.source_Storage_storage_offset: set_to_storage,
    aten._pack_padded_sequence.default: _pack_padded_sequence,
    aten.is_pinned.default: lambda source, device=None: False,
}
