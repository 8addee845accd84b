"""Keeps `torch.compile` from compiling this device's own code, so that what it is given runs here as it would without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

# Importing `torch._dynamo` for `torch.compiler.disable` would take longer than all else that a program's start does.
from torch._C._dynamo import eval_frame

from djinn.device.modules import PlannedCall
from djinn.device.tensor import RemoteTensor


def keep_compilers_out() -> None:
    """Have compilers skip what torch and users call here, with everything that it calls."""
    skip = eval_frame._FrameAction.SKIP
    for code in (PlannedCall.__call__.__code__, *_methods(RemoteTensor)):
        eval_frame.set_code_exec_strategy(code, eval_frame._FrameExecStrategy(skip, skip))


def _methods(cls: type) -> Iterator[CodeType]:
    for attribute in vars(cls).values():
        functions: tuple[Callable[..., Any] | None, ...] = (attribute,)
        if isinstance(attribute, property):
            functions = attribute.fget, attribute.fset
        elif isinstance(attribute, classmethod | staticmethod):
            functions = (attribute.__func__,)
        yield from (function.__code__ for function in functions if isinstance(function, FunctionType))
