"""Small numbers that stand for metadata: to look a plan or an operation up hashes integers instead of shapes."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from djinn.core import TensorMeta

_numbers: dict[TensorMeta, int] = {}
_unused_numbers = itertools.count()
# What a small host tensor's metadata are on the device: looking them up takes a third of making them.
_dense_metas: dict[tuple[Any, ...], tuple[TensorMeta, int]] = {}


def number_of(meta: TensorMeta) -> int:
    """Return the small number that stands for this metadata; equal metadata have equal ones."""
    number = _numbers.get(meta)
    # Drawn from a counter, since two threads could see the same length; a number that loses the race is never used.
    return _numbers.setdefault(meta, next(_unused_numbers)) if number is None else number


def dense_meta(source: torch.Tensor) -> tuple[TensorMeta, int]:
    """Return the metadata of a copy of a dense tensor in memory of its own, and their number."""
    key = source.shape, source.stride(), source.dtype
    known = _dense_metas.get(key)
    if known is None:
        meta = TensorMeta(tuple(source.shape), tuple(source.stride()), source.dtype)
        known = _dense_metas[key] = meta, number_of(meta)
    return known
