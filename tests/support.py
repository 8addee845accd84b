"""Small helpers of the tests."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from djinn.protocol import messages as m
from djinn.protocol.codec import encode_call

_PARTS = ("Snakefile", "pyproject.toml", "workflow", "config", "envs", "tests/tiny.yaml", "results/reference")
DEVICE = "remote_accelerator:0"


def operator_call(
    operator: str, args: list[Any], base_id: int, tensor_ids: Sequence[int] = (), **kwargs: Any
) -> m.RunOperator:
    """Return the request to call an operator with these arguments, in which tensors are ValueRefs of identifiers."""
    call = encode_call(m.OperatorCall(operator, args, kwargs))
    return m.RunOperator(call=call, tensor_ids=list(tensor_ids), base_id=base_id)


def tensors_in(result: Any) -> list[torch.Tensor]:
    """Return every tensor of a result, in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    return [tensor for item in result for tensor in tensors_in(item)]


def on(device: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy on a device."""
    return tensor.to(device) if device != "cpu" else tensor.clone()


def run_by_turns(num_threads: int, work: Callable[[int], None]) -> None:
    """Run it with a number in each thread, which lose the interpreter after every few instructions."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(num_threads)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)


def require_tool(name: str) -> str:
    """Return a program's path; skip without it, except in CI, which installs it."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is missing although CI installs it")
        pytest.skip(f"{name} is not installed")
    return path


def copy_repository(root: Path, folder: Path) -> None:
    """Copy what the workflow needs of a repository, without results."""
    for part in _PARTS:
        source, target = root / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache"))
        else:
            shutil.copy(source, target)


def environment_of(checkout: Path, **more: str) -> dict[str, str]:
    """Return an environment in which a copy's packages come first, and programs are those of this Python."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout / "workflow/src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


def require_package(name: str) -> Any:
    """Import a package; skip without it, except in CI, which installs it."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is missing although CI installs it")
        pytest.skip(f"{name} is not installed")


def row_widths(table: str) -> set[int]:
    """Return how many columns the rows of LaTeX tables take, those of `\\multicolumn` counted as what they span."""
    widths = set()
    for row in re.findall(r"^(.*?) \\\\", table, re.MULTILINE):
        spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", row)]
        widths.add(len(re.findall(r"(?<!\\)&", row)) + 1 + sum(spans) - len(spans))
    return widths
