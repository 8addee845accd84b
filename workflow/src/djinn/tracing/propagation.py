"""What an operation would return, by its operands' metadata: computed once on fake tensors, then remembered.

Layers repeat, so a model of hundreds of operations has a few dozen distinct ones.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from djinn.core import DTYPE_CODES, TensorMeta
from djinn.tracing.phantom import Phantom, UnplannableError

_MAX_ENTRIES = 16_384


@dataclass(frozen=True, slots=True)
class Output:
    """One tensor that an operation returns.

    Attributes:
        meta: its metadata.
        operand: number of the tensor operand whose storage it views, or None for a storage of its own.
        is_operand: whether it is that operand itself.
        storage: number of its own storage among those that the operation makes.
        storage_bytes: size of that storage.
    """

    meta: TensorMeta
    operand: int | None
    is_operand: bool
    storage: int
    storage_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation returns: outputs (None: not a tensor), in a container of this type or bare."""

    outputs: tuple[Output | None, ...]
    container: type | None


_fake_log = logging.getLogger("torch._subclasses.fake_tensor")
_memo: dict[Any, Outcome] = {}
# Making one costs as much as an operation in it; simulations take turns, so one serves all.
_fake_mode = FakeTensorMode(allow_non_fake_inputs=False)


def forget() -> None:
    """Forget every outcome, so that the next simulation is as cold as the first."""
    _memo.clear()


def propagate(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], operands: list[Phantom], device_type: str
) -> Outcome:
    """Return what `func(*args, **kwargs)` would return.

    Args:
        func: the operator's overload.
        args, kwargs: its operands; tensors are phantoms.
        operands: the phantoms among them, in order.
        device_type: of the phantoms.

    Raises:
        UnplannableError: an outcome that a plan cannot express.
        Exception: what the operator itself raises.
    """
    key = (func, _key(args), _key(kwargs), torch.get_default_dtype(), torch.is_inference_mode_enabled(), device_type)
    outcome = _memo.get(key)
    if outcome is None:
        outcome = _propagate(func, args, kwargs, operands, device_type)
        if len(_memo) >= _MAX_ENTRIES:
            _memo.clear()
        _memo[key] = outcome
    return outcome


def _key(operand: Any) -> Any:
    if isinstance(operand, Phantom):
        return operand.meta
    if isinstance(operand, tuple | list):
        return (type(operand), *(_key(item) for item in operand))
    if isinstance(operand, dict):
        return tuple((name, _key(item)) for name, item in operand.items())
    # 1, 1.0 and True are equal keys but different operands.
    return (type(operand), operand)


def _propagate(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], operands: list[Phantom], device_type: str
) -> Outcome:
    try:
        with _without_log(), _fake_mode:
            return _observe(func, args, kwargs, [_like(operand.meta, device_type) for operand in operands])
    except UnplannableError:
        raise
    except Exception:  # the rules of fake tensors are not always those of the kernels
        if device_type != "cpu":
            raise
        zeros = [_like(operand.meta, device_type).zero_() for operand in operands]
        return _observe(func, args, kwargs, zeros)


def _observe(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], stand_ins: list[torch.Tensor]) -> Outcome:
    """Run the operator on tensors that stand in for the phantoms, and describe what it returns."""
    metas = [TensorMeta.of(tensor) for tensor in stand_ins]
    remaining = iter(stand_ins)

    def replaced(operand: Any) -> Any:
        if isinstance(operand, Phantom):
            return next(remaining)
        if isinstance(operand, tuple | list):
            return type(operand)(replaced(item) for item in operand)
        return operand

    real_args = tuple(replaced(item) for item in args)
    result = func(*real_args, **{name: replaced(item) for name, item in kwargs.items()})
    if any(TensorMeta.of(tensor) != meta for tensor, meta in zip(stand_ins, metas, strict=True)):
        raise UnplannableError(f"{func} changes the shape of its operand")
    container = type(result) if isinstance(result, tuple | list) else None
    results = list(result) if container is not None else [result]
    return Outcome(_describe(results, stand_ins), container)


@contextmanager
def _without_log() -> Iterator[None]:
    """Keep torch from printing a traceback for a failure that is dealt with."""
    was_disabled, _fake_log.disabled = _fake_log.disabled, True
    try:
        yield
    finally:
        _fake_log.disabled = was_disabled


def _describe(results: list[Any], stand_ins: list[torch.Tensor]) -> tuple[Output | None, ...]:
    operand_by_storage: dict[int, int] = {}
    for number, tensor in enumerate(stand_ins):
        operand_by_storage.setdefault(tensor.untyped_storage()._cdata, number)
    identities = {id(tensor): number for number, tensor in enumerate(stand_ins)}
    made: dict[int, int] = {}
    outputs: list[Output | None] = []
    for result in results:
        if not isinstance(result, torch.Tensor):
            outputs.append(None)
            continue
        if result.layout is not torch.strided or result.dtype not in DTYPE_CODES:
            raise UnplannableError(f"a tensor of layout {result.layout} and dtype {result.dtype}")
        storage = result.untyped_storage()
        itself = identities.get(id(result))
        operand = operand_by_storage.get(storage._cdata) if itself is None else itself
        number = made.setdefault(storage._cdata, len(made)) if operand is None else 0
        outputs.append(Output(TensorMeta.of(result), operand, itself is not None, number, storage.nbytes()))
    return tuple(outputs)


def _like(meta: TensorMeta, device_type: str) -> torch.Tensor:
    """Make a tensor with exactly this shape, strides and offset."""
    if meta.storage_offset == 0:
        return torch.empty_strided(meta.shape, meta.strides, dtype=meta.dtype, device=device_type)
    num_elements = meta.extent_bytes // meta.dtype.itemsize
    base = torch.empty(num_elements, dtype=meta.dtype, device=device_type)
    return base.as_strided(meta.shape, meta.strides, meta.storage_offset)
