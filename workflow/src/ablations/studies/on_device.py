"""What the studies that run on the device share: a running server, and equality with native PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

import djinn
from ablations.settings import TrialSettings
from ablations.studies.results import require

DEVICE = "remote_accelerator:0"


@contextmanager
def running_runtime(settings: TrialSettings, **overrides: Any) -> Iterator[None]:
    """Run an embedded server on the configured device with as many threads as this process.

    Raises:
        ConfigurationError: a device that this machine does not have.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    config = djinn.Config(device_type=settings.device, num_threads=torch.get_num_threads(), **overrides)
    djinn.init(config=config)
    try:
        yield
    finally:
        djinn.shutdown()


def require_equal(actual: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """Fail the trial loudly unless two host tensors are bit for bit equal.

    Bytes are compared without torch, whose comparison would wake worker threads; those go on polling for a while and
    would take a core from what is measured next.

    Raises:
        MeasurementError: they are not.
    """
    is_alike = actual.dtype == expected.dtype and actual.shape == expected.shape
    is_equal = is_alike and actual.numpy().tobytes() == expected.numpy().tobytes()
    require(is_equal, f"{what} differs from native PyTorch by {'' if is_equal else _distance(actual, expected)}")


def _distance(actual: torch.Tensor, expected: torch.Tensor) -> str:
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return f"shape or dtype ({tuple(actual.shape)} {actual.dtype}, {tuple(expected.shape)} {expected.dtype})"
    return f"{(actual.double() - expected.double()).abs().max().item():.3g}"
