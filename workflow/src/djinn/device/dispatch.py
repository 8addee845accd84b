"""Operation by operation: what happens to an ATen call whose operands are remote tensors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from djinn.client import runtime
from djinn.core import DTYPE_CODES, DTYPES, CallTimestamps, TensorMeta, default_dtype_code
from djinn.device.aliasing import alias, set_to_storage, set_to_tensor
from djinn.device.composites import COMPOSITES
from djinn.device.handle import Handle
from djinn.device.tensor import DEVICE, RemoteTensor, is_own_device
from djinn.device.transfer import become, can_become, creations, download, note_created, upload
from djinn.errors import DeviceMismatchError, UnsupportedOperatorError
from djinn.protocol import messages as m
from djinn.protocol.operands import OWN_DEVICE, TensorRef
from djinn.tracing import decompose, facts_of, misplaced_operand, result_scope

aten = torch.ops.aten
_HOST = torch.device("cpu")
_DERIVATIVE_KEYS = ("Autograd", "AutogradPrivateUse1", "CompositeImplicitAutograd")
_thread = threading.local()


def last_call() -> CallTimestamps | None:
    """Return the timestamps of this thread's most recent computation."""
    fields = getattr(_thread, "last_call", None)
    return None if fields is None else CallTimestamps(*fields)


def note_call(*fields: Any) -> None:
    """Remember the timestamps of a computation: the fields of CallTimestamps in order."""
    _thread.last_call = fields


def dispatch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run one operation.

    Raises:
        DeviceMismatchError: a host tensor with dimensions among the operands.
        UnsupportedOperatorError: an operator or operand that the device does not take.
        Exception: what the operator itself raises.
    """
    special = _SPECIAL.get(func)
    if special is not None:
        return special(*args, **kwargs)
    if func.namespace != "aten" and torch.is_grad_enabled() and not _has_derivative(func) and _records(args):
        raise UnsupportedOperatorError(f"Operator {func} registers no derivative; call it under torch.no_grad().")
    if facts_of(func).is_composite or func in COMPOSITES:
        own = COMPOSITES.get(func)
        result = decompose(func, args, kwargs) if own is None else own(*args, **kwargs)
        if result is not NotImplemented:
            return result
    if func.namespace != "aten":
        raise UnsupportedOperatorError(f"Operator {func} is not run on {DEVICE}; move its operands to the CPU.")
    device = kwargs.get("device")
    if device is not None and not is_own_device(device):
        return _run_on_host(func, args, kwargs)
    return _run(func, args, kwargs)


def _has_derivative(func: Any) -> bool:
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key) for key in _DERIVATIVE_KEYS)


def _records(operands: tuple[Any, ...]) -> bool:
    return any(isinstance(operand, torch.Tensor) and operand.requires_grad for operand in operands)


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    facts = facts_of(func)
    misplaced = misplaced_operand(facts, args, kwargs, torch.device(DEVICE))
    if misplaced is not None:
        raise DeviceMismatchError(
            f"Expected all tensors to be on the same device, but found at least two devices, {DEVICE} and "
            f"{misplaced.device}, in {func}; move the operands with .to()."
        )
    if facts.reshapes:
        _part(args[0])
    operands = _Operands(func)
    wire_args = [operands.convert(value) for value in args]
    wire_kwargs = {name: operands.convert(value) for name, value in kwargs.items()}
    client = runtime.current_client()
    if func._schema.is_mutable:
        client.note_write()
    base_id = client.new_ids()
    request = m.RunOperator(
        operator=str(func),
        args=wire_args,
        kwargs=wire_kwargs,
        base_id=base_id,
        default_dtype_code=default_dtype_code(torch.get_default_dtype()),
        creations=creations(client, operands.tensors),
        session_id=runtime.current_session(),
    )
    reply, _ = client.request(request)
    note_created(operands.tensors)
    note_call(client.sent_ns, reply.started_ns, reply.finished_ns, False, None, 0.0, 0.0, 0.0, reply.restore_us)
    by_id = {tensor.handle.tensor_id: tensor for tensor in operands.tensors}
    with result_scope(facts, args):
        results = [_result(output, base_id + i, client, by_id) for i, output in enumerate(reply.outputs)]
    if not reply.is_sequence:
        return results[0]
    return results if len(func._schema.returns) == 1 else tuple(results)


def _part(tensor: Any) -> None:
    """Give a tensor an identifier of its own, which it may share with those that it was detached from."""
    whole = _run(aten.as_strided.default, (tensor, tensor.shape, tensor.stride(), tensor.storage_offset()), {})
    tensor.adopt(whole)


class _Operands:
    """Turns operands into what travels, and keeps the remote tensors among them.

    Their handles are kept, too: another thread may give a tensor other elements before the server has read these.
    """

    def __init__(self, func: Any) -> None:
        self._func = func
        self.tensors: list[RemoteTensor] = []
        self._handles: list[Handle] = []

    def convert(self, operand: Any) -> Any:
        if isinstance(operand, RemoteTensor):
            self.tensors.append(operand)
            self._handles.append(handle := operand.handle)
            return TensorRef(handle.tensor_id)
        if isinstance(operand, torch.Tensor):
            return self.convert(upload(operand))
        if isinstance(operand, list | tuple):
            return [self.convert(item) for item in operand]
        if isinstance(operand, torch.device):
            return OWN_DEVICE
        if isinstance(operand, torch.dtype) and operand not in DTYPE_CODES:
            raise UnsupportedOperatorError(
                f"Operator {self._func} got {operand}, which {DEVICE} does not hold; move the operands to the CPU for it."
            )
        if isinstance(operand, torch.layout) and operand is not torch.strided:
            raise UnsupportedOperatorError(
                f"Operator {self._func} was asked for {operand}, which {DEVICE} does not hold; keep such tensors on the CPU."
            )
        if isinstance(operand, torch.Generator):
            raise UnsupportedOperatorError(
                f"Operator {self._func} got an explicit torch.Generator, which {DEVICE} does not take; use torch.manual_seed."
            )
        return operand


def _result(output: Any, tensor_id: int, client: Any, by_id: dict[int, RemoteTensor]) -> Any:
    if output is None:
        return None
    kind, *fields = output
    if kind == "value":
        return fields[0]
    if kind == "new":
        return RemoteTensor(_meta(fields), Handle(client, tensor_id))
    same = by_id[fields[0]]
    meta = _meta(fields[1:])
    if meta != TensorMeta.of(same):
        same.adopt(RemoteTensor(meta, same.handle))
    return same


def _meta(fields: list[Any]) -> TensorMeta:
    shape, strides, dtype_code, offset = fields
    return TensorMeta(tuple(shape), tuple(strides), DTYPES[dtype_code], offset)


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
        result: torch.Tensor = _run(
            aten._to_copy.default, (source,), {k: v for k, v in kwargs.items() if k != "device"}
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
    result: torch.Tensor = _run(aten.copy_.default, (destination, source), {})
    return result


def _pack_padded_sequence(source: torch.Tensor, lengths: torch.Tensor, batch_first: bool) -> Any:
    data, _ = _run(aten._pack_padded_sequence.default, (source, lengths, batch_first), {})
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
