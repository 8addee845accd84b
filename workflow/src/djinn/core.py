"""Data-only types that several layers share: tensor metadata, traces with the references in them, and call timings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

# The wire speaks of dtypes by their place in this tuple, so entries are only ever appended.
DTYPES: tuple[torch.dtype, ...] = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.complex128,
    torch.uint64,  # fused attention on CUDA returns its random state so
)
DTYPE_CODES: dict[torch.dtype, int] = {dtype: code for code, dtype in enumerate(DTYPES)}


def default_dtype_code(dtype: torch.dtype) -> int | None:
    """Return what stands for a default dtype in messages: None for torch's own."""
    return None if dtype is torch.float32 else DTYPE_CODES[dtype]


@dataclass(frozen=True, slots=True)
class TensorMeta:
    """Shape and placement of a strided tensor; strides and offset count elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    storage_offset: int = 0

    @classmethod
    def of(cls, tensor: torch.Tensor) -> TensorMeta:
        """Describe `tensor`, of any device."""
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, int(tensor.storage_offset()))

    @property
    def extent_bytes(self) -> int:
        """Bytes from the start of the storage to the end of the last element reached."""
        num_elements = self.storage_offset
        if 0 not in self.shape:
            num_elements += 1
            for size, stride in zip(self.shape, self.strides, strict=True):
                num_elements += (size - 1) * stride
        return num_elements * self.dtype.itemsize

    @property
    def is_row_major(self) -> bool:
        """Whether the elements lie densely in order of their indices; sizes of one may have any stride, as may no elements."""
        if 0 in self.shape:
            return True
        step = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != step:
                return False
            step *= size
        return True

    @property
    def num_elements(self) -> int:
        """Number of elements of the shape."""
        count = 1
        for size in self.shape:
            count *= size
        return count


class ValueRef:
    """An operand of a trace node: the index of a value of the same trace."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValueRef) and other.index == self.index

    def __hash__(self) -> int:
        return hash(self.index)

    def __repr__(self) -> str:
        return f"ValueRef({self.index})"


@dataclass(frozen=True, slots=True)
class TraceValue:
    """One tensor of a trace: its metadata and the storage that it views."""

    meta: TensorMeta
    storage: int


def value_refs(operand: Any) -> Iterator[int]:
    """Yield the indices of the values in an operand tree."""
    if isinstance(operand, ValueRef):
        yield operand.index
    elif isinstance(operand, tuple | list):
        for item in operand:
            yield from value_refs(item)
    elif isinstance(operand, dict):
        yield from value_refs(tuple(operand.values()))


@dataclass(frozen=True, slots=True)
class TraceNode:
    """One recorded ATen operation.

    Attributes:
        operator: its full name.
        args, kwargs: its operands.
        outputs: the values that it returns (None: not a tensor).
        guard: for an operation that returns a Python value, the value that the rest of the trace relies on, as a 1-tuple.
    """

    operator: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[int | None, ...]
    guard: tuple[Any] | None = None

    @property
    def returns_nothing(self) -> bool:
        """Whether there are no results: unless it writes, it looks whether operands are what they have to be."""
        return all(output is None for output in self.outputs)


@dataclass(frozen=True, slots=True)
class Trace:
    """A module call on phantoms as a list of operations, without any code.

    Attributes:
        values: every tensor in order of definition; the first `num_inputs` are the call's inputs.
        storage_bytes: size of each storage; values that alias share one.
        nodes: operations in order of execution.
        outputs: values that the call returns.
        num_inputs: leading values that the caller binds: weights, buffers, arguments.
        constants: values that the operations take from the host, with their elements there.
        host_reads: tensors on the host that existed before the call and on whose elements the trace relies.
        default_dtype: torch's, by which integers become fractions.
    """

    values: tuple[TraceValue, ...]
    storage_bytes: tuple[int, ...]
    nodes: tuple[TraceNode, ...]
    outputs: tuple[int, ...]
    num_inputs: int
    constants: tuple[tuple[int, torch.Tensor], ...] = ()
    host_reads: tuple[torch.Tensor, ...] = ()
    default_dtype: torch.dtype = torch.float32


@dataclass(slots=True)
class CallTimestamps:
    """When the stages of one compute call passed, on CLOCK_MONOTONIC of one host.

    Attributes:
        sent_ns: the client handed the request to the socket.
        started_ns: the server began to execute it.
        finished_ns: the server had executed it.
        planned: whether a plan was executed, or a single operation.
        cache_hit: whether the plan came from the cache; None for single operations and a disabled cache.
        lookup_us: time to find the plan's key in the cache.
        simulate_us: time to run the module on phantoms; 0 on a hit.
        plan_us: time until the server answered with a plan; 0 on a hit.
        restore_us: time to bring evicted sessions back into device memory first, without the wait for room there.
    """

    sent_ns: int
    started_ns: int
    finished_ns: int
    planned: bool
    cache_hit: bool | None = None
    lookup_us: float = 0.0
    simulate_us: float = 0.0
    plan_us: float = 0.0
    restore_us: float = 0.0
