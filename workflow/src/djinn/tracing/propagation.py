"""What an operation would return, by its operands' metadata: computed once on torch's meta device, then remembered.

Layers repeat, so a model of hundreds of operations has a few dozen distinct ones. The meta device runs an operator's rule
for shapes, strides and dtypes; phantoms decide what a composite operator consists of, so the rule is only ever asked
about operators that are kernels on the server's device too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from djinn.core import DTYPE_CODES, TensorMeta
from djinn.interrupts import is_interrupt
from djinn.tracing.phantom import Phantom, UnplannableError

_MAX_ENTRIES = 16_384
_META = torch.device("meta")
_CPU = torch.device("cpu")
# Kernels of the CPU that choose other strides, shapes or dtypes than the rule for all devices.
_UNLIKE_RULE = frozenset(
    getattr(torch.ops.aten, name)
    for name in (
        *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "native_layer_norm"),
        *("max_unpool2d", "nonzero_static", "_fft_c2r", "_fft_r2c", "_linalg_svd", "linalg_eig"),
    )
)
# And those that do so where an operand does not lie row by row.
_UNLIKE_RULE_IN_STRIDES = frozenset(
    getattr(torch.ops.aten, name)
    for name in (
        *("angle", "binary_cross_entropy", "channel_shuffle", "convolution", "copysign", "div", "floor_divide"),
        *("heaviside", "ldexp", "log_sigmoid_forward", "logaddexp", "logical_and", "logical_or", "logical_xor"),
        *("native_dropout_backward", "pixel_shuffle", "reflection_pad2d", "reflection_pad3d", "replication_pad2d"),
        *("replication_pad3d", "roll", "special_xlog1py", "xlogy"),
    )
)


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
    """What an operation returns: outputs or, where metadata alone decide them, plain values; in a container or bare.

    Fused attention on accelerators returns lengths and tensors that do not exist beside its result.
    """

    outputs: tuple[Output | int | None, ...]
    container: type | None


_memo: dict[Any, Outcome] = {}


def forget() -> None:
    """Forget every outcome, so that the next simulation is as cold as the first."""
    _memo.clear()


def propagate(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], key: tuple[Any, ...], device: str) -> Outcome:
    """Return what `func(*args, **kwargs)` would return.

    Args:
        func: the operator's overload.
        args, kwargs: its operands; tensors are phantoms.
        key: what stands for the operands: equal for operands that are alike.
        device: the type of the phantoms' device.

    Raises:
        UnplannableError: an outcome that a plan cannot express.
        Exception: what the operator itself raises.
    """
    key = (func, key, torch.get_default_dtype(), torch.is_inference_mode_enabled(), device)
    outcome = _memo.get(key)
    if outcome is None:
        outcome = _propagate(func, args, kwargs, device)
        if len(_memo) >= _MAX_ENTRIES:
            _memo.clear()
        _memo[key] = outcome
    return outcome


def _propagate(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], device: str) -> Outcome:
    if device == "cpu" and _is_unlike_rule(func.overloadpacket, args):
        return _observe(func, args, kwargs, _CPU)
    try:
        outcome = _observe(func, args, kwargs, _META)
    except UnplannableError:
        raise
    except Exception as error:
        # The rules are not always those of the kernels: some operators have none, some are stricter.
        if device != "cpu" or is_interrupt(error):
            raise
    else:
        # Rules return an empty tensor where the kernel returns none.
        if device != "cpu" or not any(
            isinstance(output, Output) and output.meta.shape == (0,) for output in outcome.outputs
        ):
            return outcome
    return _observe(func, args, kwargs, _CPU)


def _is_unlike_rule(operator: Any, args: tuple[Any, ...]) -> bool:
    return operator in _UNLIKE_RULE or (
        operator in _UNLIKE_RULE_IN_STRIDES
        and not all(operand.meta.is_row_major for operand in args if isinstance(operand, Phantom))
    )


def _observe(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], device: torch.device) -> Outcome:
    """Run the operator on tensors that stand in for the phantoms, and describe what it returns."""
    stand_ins: list[torch.Tensor] = []
    metas: list[TensorMeta] = []

    def replaced(operand: Any) -> Any:
        if isinstance(operand, Phantom):
            stand_ins.append(_like(operand.meta, device))
            metas.append(operand.meta)
            return stand_ins[-1]
        if isinstance(operand, tuple | list):
            return type(operand)(replaced(item) for item in operand)
        return device if isinstance(operand, torch.device) else operand

    real_args = tuple(replaced(item) for item in args)
    result = func(*real_args, **{name: replaced(item) for name, item in kwargs.items()})
    if any(TensorMeta.of(tensor) != meta for tensor, meta in zip(stand_ins, metas, strict=True)):
        raise UnplannableError(f"{func} changes the shape of its operand")
    container = type(result) if isinstance(result, tuple | list) else None
    results = list(result) if container is not None else [result]
    return Outcome(_describe(results, stand_ins), container)


def _describe(results: list[Any], stand_ins: list[torch.Tensor]) -> tuple[Output | int | None, ...]:
    operand_by_storage: dict[int, int] = {}
    for number, tensor in enumerate(stand_ins):
        operand_by_storage.setdefault(tensor.untyped_storage()._cdata, number)
    identities = {id(tensor): number for number, tensor in enumerate(stand_ins)}
    made: dict[int, int] = {}
    outputs: list[Output | int | None] = []
    for result in results:
        if not isinstance(result, torch.Tensor):
            outputs.append(result if isinstance(result, int) else None)
            continue
        if result.layout is not torch.strided or result.dtype not in DTYPE_CODES:
            raise UnplannableError(f"a tensor of layout {result.layout} and dtype {result.dtype}")
        storage = result.untyped_storage()
        itself = identities.get(id(result))
        operand = operand_by_storage.get(storage._cdata) if itself is None else itself
        number = made.setdefault(storage._cdata, len(made)) if operand is None else 0
        outputs.append(Output(TensorMeta.of(result), operand, itself is not None, number, storage.nbytes()))
    return tuple(outputs)


def _like(meta: TensorMeta, device: torch.device) -> torch.Tensor:
    """Make a tensor of zeros with exactly this shape, strides and offset."""
    if meta.storage_offset == 0:
        made = torch.empty_strided(meta.shape, meta.strides, dtype=meta.dtype, device=device)
    else:
        base = torch.empty(meta.extent_bytes // meta.dtype.itemsize, dtype=meta.dtype, device=device)
        made = base.as_strided(meta.shape, meta.strides, meta.storage_offset)
    return made if device is _META else made.zero_()
